"""Small songs made from a prompt: a melody, a pad of chords and a bass, as an MP3.

The prompt's hash picks the key, the chord progression and the tune, so that two prompts sound
different and one prompt always sounds the same.
"""

from __future__ import annotations

import hashlib
import math
import random
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import lameenc  # type: ignore[import-not-found]

SAMPLE_RATE = 44_100
BIT_RATE_KBPS = 128
STEP_SAMPLES = 8_268  # a sixteenth at 80 beats a minute
STEPS_PER_CHORD = 4

KEYS = (48, 50, 53, 55, 57)
"""The roots a song may have, as MIDI notes: C, D, F, G, A."""
PENTATONIC = (0, 2, 4, 7, 9)
TRIADS = {"I": (0, 4, 7), "ii": (2, 5, 9), "IV": (0, 5, 9), "V": (2, 7, 11), "vi": (0, 4, 9)}
BASS_NOTES = {"I": 0, "ii": 2, "IV": 5, "V": 7, "vi": 9}
PROGRESSIONS = (
    ("I", "V", "vi", "IV"),
    ("vi", "IV", "I", "V"),
    ("I", "vi", "IV", "V"),
    ("I", "IV", "ii", "V"),
)


@dataclass(frozen=True)
class Voice:
    """How one instrument sounds. ``loudness`` is its peak, and its share of the 16-bit range."""

    loudness: int
    partials: tuple[float, ...]
    attack_seconds: float
    decay_seconds: float


# One bass, three pad notes and two melody layers: together exactly 0x8000 (see ``_mix``).
BASS = Voice(0x1800, (1.0, 0.5, 0.2), 0.01, 0.9)
PAD = Voice(0x1000, (1.0, 0.3, 0.15, 0.05), 0.08, 2.5)
BELL = Voice(0x1C00, (1.0, 0.0, 0.35, 0.0, 0.12), 0.004, 0.28)
LAYER_VOICES = (BASS, PAD, PAD, PAD, BELL, BELL)


@lru_cache(maxsize=512)
def compose(prompt: str, *, variant_seed: int = 0, seconds: float = 3.0) -> bytes:
    """An MP3 (44.1 kHz, mono, 128 kbit/s) of about ``seconds`` with an ID3v2 tag in front.

    The same arguments give the same bytes. ``variant_seed`` gives another tune to the same prompt.
    """
    if not 0 < seconds <= 600:
        raise ValueError(f"a song lasts more than 0 and at most 600 seconds, not {seconds}")
    words = f"{variant_seed}\0{prompt}".encode(errors="surrogatepass")
    digest = hashlib.sha256(words).hexdigest()
    samples = round(seconds * SAMPLE_RATE)
    layers = _layers(random.Random(digest), math.ceil(samples / STEP_SAMPLES))
    return _id3_tag(f"Song {digest[:8]}") + _encode(_mix(layers, samples))


def _layers(rng: random.Random, steps: int) -> list[bytes]:
    """The six layers of a song, in the order of ``LAYER_VOICES``, each at least ``steps`` long."""
    key = rng.choice(KEYS)
    progression = rng.choice(PROGRESSIONS)
    chords = [progression[n % 4] for n in range(math.ceil(steps / STEPS_PER_CHORD))]
    bass = b"".join(_note(BASS, key - 12 + BASS_NOTES[c], STEPS_PER_CHORD) for c in chords)
    pads = [
        b"".join(_note(PAD, key + TRIADS[c][i], STEPS_PER_CHORD) for c in chords) for i in range(3)
    ]
    tune = list(_tune(rng, key + 12, chords))
    # Every melody note rings for two steps, so neighbours take turns on two layers.
    even = b"".join(_note(BELL, pitch, 2) for pitch in tune[::2])
    odd = _note(BELL, None, 1) + b"".join(_note(BELL, pitch, 2) for pitch in tune[1::2])
    return [bass, *pads, even, odd]


def _tune(rng: random.Random, root: int, chords: Sequence[str]) -> Iterator[int | None]:
    """A pitch or a rest for every step: chord notes on the beat, small steps between them."""
    degree = rng.randrange(3, 8)
    for chord in chords:
        yield root + rng.choice(TRIADS[chord])
        for _ in range(STEPS_PER_CHORD - 1):
            degree = min(9, max(0, degree + rng.choice((-2, -1, 1, 2))))
            octave, place = divmod(degree, len(PENTATONIC))
            yield None if rng.random() < 0.25 else root + 12 * octave + PENTATONIC[place]


@cache
def _note(voice: Voice, pitch: int | None, steps: int) -> bytes:
    """One note, or a rest, as unsigned 16-bit samples around the voice's loudness.

    There are few voices, pitches and lengths, so all notes of all songs fit the cache.
    """
    samples = steps * STEP_SAMPLES
    if pitch is None:
        return array("H", [voice.loudness]).tobytes() * samples
    wave = _wave(voice.partials, 440 * 2 ** ((pitch - 69) / 12))
    tiled = wave * (samples // len(wave) + 1)
    middle = voice.loudness
    envelope = _envelope(voice, samples)
    values = [middle + int(s * e) for s, e in zip(tiled, envelope, strict=False)]
    return array("H", values).tobytes()


@cache
def _wave(partials: tuple[float, ...], frequency: float) -> list[float]:
    """Eight periods, peak 1: over eight, rounding to whole samples is out of tune by 2 cents."""
    length = round(8 * SAMPLE_RATE / frequency)
    turn = 2 * math.pi * 8 / length
    wave = [
        sum(a * math.sin(turn * n * k) for k, a in enumerate(partials, 1)) for n in range(length)
    ]
    peak = max(map(abs, wave))
    return [value / peak for value in wave]


@cache
def _envelope(voice: Voice, samples: int) -> list[float]:
    """Loudness over time: rises, dies away, and is silent at the very end so nothing clicks."""
    rise = voice.attack_seconds * SAMPLE_RATE
    fall = voice.decay_seconds * SAMPLE_RATE
    release = 0.02 * SAMPLE_RATE
    top = voice.loudness - 1
    return [
        top * min(1.0, n / rise, (samples - n) / release) * math.exp(-n / fall)
        for n in range(samples)
    ]


def _mix(layers: Sequence[bytes], samples: int) -> bytes:
    """Add the layers and return signed 16-bit samples.

    Each layer is read as one huge integer with a sample in every 16 bits, so that one addition
    adds all samples, in C. No lane can carry into the next: the loudnesses add up to 0x8000. That
    sum is also the mixture's middle, and flipping the top bit of a lane takes it away again.
    """
    size = samples * 2
    mixed = sum(int.from_bytes(layer[:size], sys.byteorder) for layer in layers)
    top_bits = int.from_bytes(array("H", [0x8000]).tobytes() * samples, sys.byteorder)
    return (mixed ^ top_bits).to_bytes(size, sys.byteorder)


def _encode(pcm: bytes) -> bytes:
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_bit_rate(BIT_RATE_KBPS)
    encoder.set_in_sample_rate(SAMPLE_RATE)
    encoder.set_channels(1)
    encoder.set_quality(7)  # the fastest setting that still changes anything
    return bytes(encoder.encode(pcm)) + bytes(encoder.flush())


def _id3_tag(title: str) -> bytes:
    """An ID3v2.4 tag, as the real provider's files begin with one."""
    frames = b"".join(
        name + len(text).to_bytes(4) + b"\0\0" + text
        for name, text in ((b"TIT2", b"\3" + title.encode()), (b"TSSE", b"\3SongSwipe devstack"))
    )
    # Sizes are written seven bits to a byte; below 128 that is the plain number.
    return b"ID3\4\0\0" + len(frames).to_bytes(4) + frames
