"""How long an MP3 plays, and whether all of it is there: on files of a real encoder."""

from __future__ import annotations

import itertools
import json
import math
import struct
from contextlib import suppress
from functools import cache

import lameenc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from songswipe.audio import NotAudioError, TruncatedAudioError, mp3_duration_ms

SECONDS = 1.0
ENCODER_PADDING_MS = 150  # LAME's own delay and the frame it begins with

FORMATS = [
    (44_100, 128),
    (44_100, 64),
    (44_100, 320),
    (48_000, 192),
    (32_000, 32),
    (24_000, 48),
    (22_050, 32),
    (16_000, 160),
    (12_000, 8),
    (11_025, 16),
    (8_000, 8),
]


@cache
def encoded(rate: int = 44_100, bitrate: int = 128, channels: int = 1) -> bytes:
    """A second of a tone."""
    samples = (
        round(9_000 * math.sin(2 * math.pi * 220 * index / rate))
        for index in range(round(rate * SECONDS))
    )
    pcm = b"".join(struct.pack("<h", sample) * channels for sample in samples)
    encoder = lameenc.Encoder()
    encoder.set_in_sample_rate(rate)
    encoder.set_out_sample_rate(rate)
    encoder.set_bit_rate(bitrate)
    encoder.set_channels(channels)
    encoder.set_quality(7)
    encoder.silence()
    return bytes(encoder.encode(pcm)) + bytes(encoder.flush())


SONG = encoded()
DURATION_MS = mp3_duration_ms(SONG)


def id3v2(size: int, *, footer: bool = False) -> bytes:
    """A tag of ``size`` bytes, as the provider's songs begin with."""
    length = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    head = b"ID3\x04\x00" + (b"\x10" if footer else b"\x00") + length
    return head + b"\0" * size + (b"3DI\x04\x00\x10" + length if footer else b"")


ID3V1 = b"TAG" + b"\0" * 125


@pytest.mark.parametrize(
    ("rate", "bitrate", "channels"),
    [(*audio_format, channels) for audio_format, channels in itertools.product(FORMATS, (1, 2))],
)
def test_a_whole_song_plays_as_long_as_what_was_encoded(
    rate: int, bitrate: int, channels: int
) -> None:
    """MPEG-1, 2 and 2.5, from 8 to 320 kbit/s, mono and stereo."""
    duration = mp3_duration_ms(encoded(rate, bitrate, channels))

    assert 0 <= duration - SECONDS * 1000 <= max(ENCODER_PADDING_MS, 4 * 576_000 / rate)


@pytest.mark.parametrize(
    "before", [b"", id3v2(0), id3v2(34), id3v2(300), id3v2(20, footer=True)], ids=len
)
@pytest.mark.parametrize(
    "after",
    [b"", ID3V1, b"APETAGEX" + b"\0" * 24, b"LYRICSBEGIN" + b"x" * 20, b"\0" * 100, id3v2(8)],
    ids=["nothing", "id3v1", "ape", "lyrics", "zeros", "id3v2"],
)
def test_tags_around_a_song_do_not_count(before: bytes, after: bytes) -> None:
    assert mp3_duration_ms(before + SONG + after) == DURATION_MS


@settings(max_examples=200)
@given(st.integers(0, len(SONG) - 1), st.sampled_from([b"", id3v2(34), id3v2(300)]))
def test_a_song_that_was_cut_is_never_taken_for_the_whole(position: int, tag: bytes) -> None:
    """Between two frames a cut cannot be seen, but then what is left plays shorter."""
    try:
        duration = mp3_duration_ms((tag + SONG)[: len(tag) + position])
    except (NotAudioError, TruncatedAudioError):
        return

    assert duration < DURATION_MS


@pytest.mark.parametrize("missing", [1, 2, 100, 5_000])
def test_a_song_without_its_end_is_truncated(missing: int) -> None:
    with pytest.raises(TruncatedAudioError):
        mp3_duration_ms(SONG[:-missing])


@pytest.mark.parametrize("length", [10, 11, 300, 310])
def test_a_song_that_ends_within_its_tag_is_truncated(length: int) -> None:
    with pytest.raises(TruncatedAudioError):
        mp3_duration_ms(id3v2(300)[:length])


@pytest.mark.parametrize("noise", [b"<html>", b"\xff" * 40, b"garbage" * 9, b"\xff\xfb\x00\x00"])
def test_a_song_with_something_else_in_its_middle_is_broken(noise: bytes) -> None:
    frame = 144 * 128_000 // 44_100
    start = next(i for i in range(frame * 2, frame * 4) if SONG[i : i + 2] == SONG[:2])

    with pytest.raises(TruncatedAudioError):
        mp3_duration_ms(SONG[:start] + noise + SONG[start:])


@settings(max_examples=200)
@given(st.integers(0, len(SONG) - 1), st.binary(min_size=1, max_size=40))
def test_a_damaged_song_is_told_or_measured_and_never_crashes(position: int, noise: bytes) -> None:
    damaged = SONG[:position] + noise + SONG[position + len(noise) :]
    with suppress(NotAudioError, TruncatedAudioError):
        assert mp3_duration_ms(damaged) > 0


NOT_AUDIO = {
    "empty": b"",
    "one byte": b"\xff",
    "html": b"<!DOCTYPE html><html><body>Just a moment...</body></html>",
    "json": json.dumps({"detail": {"status": "ok"}}).encode(),
    "text": b"upstream connect error",
    "zeros": b"\0" * 5_000,
    "ones": b"\xff" * 5_000,
    "wav": b"RIFF\x24\x00\x00\x00WAVEfmt " + b"\0" * 500,
    "ogg": b"OggS\x00\x02" + b"\0" * 500,
    "flac": b"fLaC\x00\x00\x00\x22" + b"\0" * 500,
    "mp4": b"\x00\x00\x00\x20ftypM4A " + b"\0" * 500,
    "png": b"\x89PNG\r\n\x1a\n" + b"\0" * 500,
    "gzip": b"\x1f\x8b\x08\x00" + b"\0" * 500,
    "id3 alone": b"ID3",
    "a tag before html": id3v2(10) + b"<html></html>",
    "one frame": SONG[: 144 * 128_000 // 44_100],
    "id3v1 alone": ID3V1,
}


@pytest.mark.parametrize("kind", NOT_AUDIO)
def test_what_is_no_mp3_is_told_apart(kind: str) -> None:
    with pytest.raises(NotAudioError):
        mp3_duration_ms(NOT_AUDIO[kind])


@pytest.mark.parametrize(
    "header",
    ["fffd9000", "ffff9000", "fff99000", "ffeb9000", "fffbf000", "fffb0000", "fffb9c00"],
    ids=["layer 2", "layer 1", "AAC", "version", "bitrate", "free bitrate", "sample rate"],
)
def test_other_layers_and_reserved_values_are_no_mp3(header: str) -> None:
    frame = bytes.fromhex(header) + b"\0" * 413

    with pytest.raises(NotAudioError):
        mp3_duration_ms(frame * 4)


@given(st.binary(max_size=2_000))
def test_bytes_of_any_kind_are_told_or_measured_and_never_crash(audio: bytes) -> None:
    with suppress(NotAudioError, TruncatedAudioError):
        assert mp3_duration_ms(audio) > 0


def test_a_long_song_is_measured_quickly_and_exactly() -> None:
    """Ten minutes, the longest that can be asked for."""
    frame = bytes.fromhex("fffb9000") + b"\0" * 413
    duration = mp3_duration_ms(frame * 22_969)

    assert duration == round(22_969 * 1152 / 44_100 * 1000)
