"""Is this MP3 complete, and how long does it play?

Counts the frames of an MPEG audio stream. That measures the duration exactly, whatever its headers
claim, and notices a body that was cut: the last frame then promises more bytes than there are.

Source of the tables: ISO/IEC 11172-3 and 13818-3, Layer III frame header.
"""

from __future__ import annotations

from dataclasses import dataclass

_BITRATES_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_LAYER_III = 1
_TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")


class NotAudioError(ValueError):
    """The bytes are not an MP3 stream at all."""


class TruncatedAudioError(ValueError):
    """The bytes begin as an MP3 stream and end in the middle of it."""


@dataclass(frozen=True)
class _Frame:
    size_bytes: int
    duration_seconds: float


def mp3_duration_ms(audio: bytes) -> int:
    """How long a complete MP3 file plays.

    Raises NotAudioError or TruncatedAudioError.
    """
    position = _after_id3(audio)
    seconds = 0.0
    frames = 0
    while position < len(audio):
        frame = _frame_at(audio, position)
        if frame is None:
            if frames and _is_trailer(audio, position):
                break
            raise TruncatedAudioError("broken stream") if frames > 1 else NotAudioError("no frames")
        position += frame.size_bytes
        seconds += frame.duration_seconds
        frames += 1
    if position > len(audio):
        raise TruncatedAudioError("the last frame is cut")
    if frames < 2:
        raise NotAudioError("no frames")
    return round(seconds * 1000)


def _after_id3(audio: bytes) -> int:
    """Where the stream starts: behind an ID3v2 tag, if there is one."""
    if audio[:3] != b"ID3" or len(audio) < 10:
        return 0
    size = 0
    for byte in audio[6:10]:
        size = size << 7 | byte & 0x7F
    footer = 10 if audio[5] & 0x10 else 0
    if 10 + size + footer >= len(audio):
        raise TruncatedAudioError("ends within its tag")
    return 10 + size + footer


def _frame_at(audio: bytes, position: int) -> _Frame | None:
    header = int.from_bytes(audio[position : position + 4], "big")
    version, layer = header >> 19 & 3, header >> 17 & 3
    bitrate_index, rate_index = header >> 12 & 15, header >> 10 & 3
    if len(audio) - position < 4 or header >> 21 != 0x7FF or version == 1:
        return None
    if layer != _LAYER_III or bitrate_index in (0, 15) or rate_index == 3:
        return None
    mpeg1 = version == 3
    bitrate = (_BITRATES_MPEG1 if mpeg1 else _BITRATES_MPEG2)[bitrate_index] * 1000
    sample_rate = _SAMPLE_RATES[version][rate_index]
    samples = 1152 if mpeg1 else 576
    padding = header >> 9 & 1
    return _Frame(samples // 8 * bitrate // sample_rate + padding, samples / sample_rate)


def _is_trailer(audio: bytes, position: int) -> bool:
    """Whether what follows the last frame is a tag or padding, as encoders append it."""
    rest = audio[position : position + 16]
    return rest.startswith(_TRAILERS) or not audio[position:].strip(b"\0")
