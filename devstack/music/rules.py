"""What the music provider accepts: the rules of ``POST /v1/music`` and the refusals it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

PROMPT_MAX_CHARS = 4_100
LENGTH_MS_MIN = 3_000
LENGTH_MS_MAX = 600_000
MODELS = ("music_v1", "music_v2", "music_v2_5")
OUTPUT_FORMATS = (
    "auto",
    "mp3_22050_32",
    "mp3_24000_48",
    "mp3_44100_32",
    "mp3_44100_64",
    "mp3_44100_96",
    "mp3_44100_128",
    "mp3_44100_192",
    "mp3_48000_192",
    "mp3_48000_240",
    "mp3_48000_320",
)
UNSUPPORTED_FIELDS = ("composition_plan", "finetune_id")


@dataclass(frozen=True)
class Refusal:
    """An answer that is not a song. ``detail`` is an object or, from validation, a list."""

    status: int
    detail: dict[str, Any] | list[dict[str, Any]]


Body = Mapping[str, Any]
Rule = Callable[[Body], Refusal | None]


def read_body(raw: bytes) -> dict[str, Any] | None:
    """The request's JSON object, or None where the body is not one."""
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def refuse_key(key: str, expected: str | None) -> Refusal | None:
    """``expected`` None accepts every key but an empty one."""
    if not key:
        message = "Neither authorization header nor xi-api-key received, please provide one."
        return Refusal(401, {"status": "needs_authorization", "message": message})
    if expected is not None and key != expected:
        return Refusal(401, {"status": "invalid_api_key", "message": "Invalid API key"})
    return None


def refuse_request(body: Body | None, output_format: str) -> Refusal | None:
    """The first reason for which the provider would not compose, or None."""
    if output_format not in OUTPUT_FORMATS:
        return _unsupported("output_format", f"composes MP3 only, not {output_format}")
    if body is None:
        return _invalid("model_attributes_type", "Input should be a valid dictionary or object")
    return next((refusal for rule in RULES if (refusal := rule(body)) is not None), None)


def _one_source(body: Body) -> Refusal | None:
    given = [name for name in ("prompt", "composition_plan") if body.get(name)]
    if len(given) == 1:
        return None
    count = "both" if given else "neither"
    return _conflict(f"Provide exactly one of prompt and composition_plan; {count} were given.")


def _supported(body: Body) -> Refusal | None:
    for name in UNSUPPORTED_FIELDS:
        if body.get(name) is not None:
            return _unsupported(name, f"does not know {name}")
    return None


def _prompt(body: Body) -> Refusal | None:
    prompt = body["prompt"]
    if not isinstance(prompt, str):
        return _invalid("string_type", "Input should be a valid string", "prompt")
    if len(prompt) > PROMPT_MAX_CHARS:
        message = f"String should have at most {PROMPT_MAX_CHARS} characters"
        return _invalid("string_too_long", message, "prompt")
    return None


def _length(body: Body) -> Refusal | None:
    length = body.get("music_length_ms")
    if length is None:
        return None
    if type(length) is not int:
        return _invalid("int_type", "Input should be a valid integer", "music_length_ms")
    if length < LENGTH_MS_MIN:
        message = f"Input should be greater than or equal to {LENGTH_MS_MIN}"
        return _invalid("greater_than_equal", message, "music_length_ms")
    if length > LENGTH_MS_MAX:
        message = f"Input should be less than or equal to {LENGTH_MS_MAX}"
        return _invalid("less_than_equal", message, "music_length_ms")
    return None


def _model(body: Body) -> Refusal | None:
    if body.get("model_id", MODELS[0]) in MODELS:
        return None
    message = "Input should be " + " or ".join(repr(model) for model in MODELS)
    return _invalid("enum", message, "model_id")


def _seed(body: Body) -> Refusal | None:
    if body.get("seed") is None:
        return None
    return _conflict("seed cannot be used together with prompt.")


RULES: tuple[Rule, ...] = (_one_source, _supported, _prompt, _length, _model, _seed)


def _invalid(kind: str, message: str, *field: str) -> Refusal:
    return Refusal(422, [{"loc": ["body", *field], "msg": message, "type": kind}])


def _conflict(message: str) -> Refusal:
    detail = {"type": "validation_error", "code": "invalid_parameters", "message": message}
    return Refusal(422, {**detail, "status": "invalid_parameters"})


def _unsupported(param: str, message: str) -> Refusal:
    detail = {"type": "validation_error", "code": "unsupported_by_stand_in", "param": param}
    return Refusal(422, {**detail, "message": f"The ElevenLabs stand-in {message}."})
