from __future__ import annotations

import pytest

from devstack.music.composer import compose

FRAME_BYTES = 144 * 128_000 / 44_100
FRAME_SECONDS = 1152 / 44_100


def frames_of(song: bytes) -> list[int]:
    """The offsets of all MP3 frames, walking from the end of the ID3 tag to the end of the file."""
    size = int.from_bytes(bytes(song[6:10]))
    offset, offsets = 10 + size, []
    while offset < len(song):
        sync, _, rate_bits = song[offset], song[offset + 1], song[offset + 2]
        assert (sync, song[offset + 1] & 0xFE, rate_bits & 0xFC) == (0xFF, 0xFA, 0x90)
        offsets.append(offset)
        offset += 417 + (rate_bits >> 1 & 1)
    assert offset == len(song)
    return offsets


@pytest.mark.parametrize("seconds", [0.3, 3.0, 7.5])
def test_a_song_is_a_whole_mp3_of_the_length_asked_for(seconds: float) -> None:
    """Every frame is MPEG-1 layer III at 128 kbit/s and 44.1 kHz, and the last one is whole."""
    frames = frames_of(compose("a birthday song", seconds=seconds))

    assert 0 <= len(frames) * FRAME_SECONDS - seconds < 0.11  # the encoder pads a few frames


def test_a_song_begins_with_an_id3_tag_as_the_provider_s_do() -> None:
    song = compose("a birthday song", seconds=0.3)

    assert song.startswith(b"ID3\x04\x00\x00")
    assert b"TIT2" in song[:80]
    assert b"TSSE" in song[:80]


def test_a_prompt_always_gives_the_same_song() -> None:
    first = compose("the same", seconds=0.3)
    compose.cache_clear()

    assert first == compose("the same", seconds=0.3)


def test_prompts_and_variants_sound_different() -> None:
    """Not only in their tags: the frames differ."""
    songs = [compose("a"), compose("b"), compose("a", variant_seed=1), compose("a", seconds=2.9)]

    assert len({song[100:] for song in songs}) == 4


def test_a_song_can_be_heard() -> None:
    """Silence of the same length compresses to frames that hardly differ; these all do."""
    song = compose("a birthday song")
    frames = frames_of(song)
    middles = {song[start + 40 : start + 200] for start in frames}

    assert len(middles) > 0.9 * len(frames)


@pytest.mark.parametrize("prompt", ["", "ein Lied für Zoë 🎂", "\ud800", "x" * 4_100])
def test_every_text_can_be_composed(prompt: str) -> None:
    assert frames_of(compose(prompt, seconds=0.3))


@pytest.mark.parametrize("seconds", [0, -1, 601])
def test_an_impossible_length_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="at most 600 seconds"):
        compose("a", seconds=seconds)
