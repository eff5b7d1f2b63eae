from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

from devstack.faults import Call, Fault, FaultScript, always, times
from devstack.music.composer import compose
from devstack.music.provider import (
    BAD_PROMPT,
    BARE_STRING,
    CUT_AFTER,
    CUT_BEFORE,
    CUT_MIDDLE,
    EMPTY_AUDIO,
    FORBIDDEN,
    HTML_PAGE,
    INVALID_KEY,
    JSON_AS_AUDIO,
    MISSING_PERMISSIONS,
    PAID_PLAN_REQUIRED,
    PAYMENT_REQUIRED,
    QUOTA_EXCEEDED,
    SERVER_ERROR,
    TRUNCATED,
    VALIDATION_ERROR,
    MusicProvider,
    bad_prompt,
    throttled,
    unavailable,
)

BODY = {"prompt": "a birthday song", "music_length_ms": 60_000, "model_id": "music_v1"}


@pytest.fixture
def provider(serve: Callable[[MusicProvider], MusicProvider]) -> MusicProvider:
    return serve(MusicProvider(song_seconds=0.3))


def post(
    provider: MusicProvider, body: Any = BODY, *, key: str = "key", query: str = ""
) -> requests.Response:
    return requests.post(
        f"{provider.url}/v1/music{query}", json=body, headers={"xi-api-key": key}, timeout=10
    )


def test_a_song_comes_as_audio_with_its_ids_and_is_recorded(provider: MusicProvider) -> None:
    """What the answer and the record of a plain call look like."""
    response = post(provider)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "audio/mpeg"
    assert response.headers["song-id"]
    assert response.headers["request-id"]
    assert response.content == compose(BODY["prompt"], seconds=0.3)
    [call] = provider.calls
    assert (call.prompt, call.length_ms, call.model_id) == tuple(BODY.values())
    assert call.prompt_sha256 == hashlib.sha256(b"a birthday song").hexdigest()
    assert call.outcome == "composed"
    assert call.seconds > 0
    assert provider.songs_made == 1


def test_one_prompt_gives_three_different_songs(provider: MusicProvider) -> None:
    assert len({post(provider).content for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"prompt": None}, 422, None),
        ({"prompt": ""}, 422, None),
        ({"composition_plan": {"sections": []}}, 422, None),
        ({"prompt": None, "composition_plan": {"sections": [1]}}, 422, None),
        ({"prompt": 7}, 422, "prompt"),
        ({"prompt": "x" * 4_100}, 200, None),
        ({"prompt": "x" * 4_101}, 422, "prompt"),
        ({"music_length_ms": 2_999}, 422, "music_length_ms"),
        ({"music_length_ms": 3_000}, 200, None),
        ({"music_length_ms": 600_000}, 200, None),
        ({"music_length_ms": 600_001}, 422, "music_length_ms"),
        ({"music_length_ms": "60000"}, 422, "music_length_ms"),
        ({"music_length_ms": None}, 200, None),
        ({"model_id": "music_v2"}, 200, None),
        ({"model_id": "music_v2_5"}, 200, None),
        ({"model_id": "music_v3"}, 422, "model_id"),
        ({"model_id": ["music_v1"]}, 422, "model_id"),
        ({"seed": 1}, 422, None),
        ({"finetune_id": "mine"}, 422, None),
        ({"force_instrumental": False}, 200, None),
        ({"output_format": "pcm_44100"}, 200, None),
    ],
)
def test_the_body_is_judged_as_the_provider_does(
    provider: MusicProvider, change: dict[str, Any], status: int, field: str | None
) -> None:
    """Ranges and types are refused in list form, naming the field; conflicts in object form."""
    response = post(provider, BODY | change)

    assert response.status_code == status
    assert provider.calls[0].outcome == ("composed" if status == 200 else "rejected")
    if status == 422:
        detail = response.json()["detail"]
        assert (detail[0]["loc"] == ["body", field]) if field else detail["message"]


@pytest.mark.parametrize("body", [[], "text", 1])
def test_a_body_that_is_no_object_is_refused(provider: MusicProvider, body: Any) -> None:
    assert post(provider, body).status_code == 422


def test_a_body_that_is_no_json_is_refused(provider: MusicProvider) -> None:
    response = requests.post(
        f"{provider.url}/v1/music", data=b"\xff{", headers={"xi-api-key": "key"}, timeout=10
    )

    assert response.status_code == 422


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("?output_format=auto", 200),
        ("?output_format=mp3_44100_128", 200),
        ("?output_format=pcm_44100", 422),
        ("?output_format=mp3", 422),
    ],
)
def test_only_mp3_can_be_asked_for(provider: MusicProvider, query: str, status: int) -> None:
    assert post(provider, query=query).status_code == status


def test_a_missing_key_is_refused(provider: MusicProvider) -> None:
    response = post(provider, key="")

    assert response.status_code == 401
    assert response.json()["detail"]["status"] == "needs_authorization"
    assert provider.calls[0].outcome == "refused"


def test_a_wrong_key_is_refused_with_one_id_in_body_and_header(
    serve: Callable[[MusicProvider], MusicProvider],
) -> None:
    provider = serve(MusicProvider(song_seconds=0.3, api_key="right"))
    response = post(provider, key="wrong")

    assert response.status_code == 401
    assert response.json()["detail"]["status"] == "invalid_api_key"
    assert response.json()["detail"]["request_id"] == response.headers["x-trace-id"]
    assert post(provider, key="right").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/music/compose"), ("GET", "/v1/music"), ("POST", "/v1/music/stream")],
)
def test_everything_else_is_not_found(provider: MusicProvider, method: str, path: str) -> None:
    response = requests.request(method, provider.url + path, timeout=10)

    assert response.status_code == 404
    assert response.json() == {"detail": "Not Found"}


@pytest.mark.parametrize(
    ("fault", "status", "word", "outcome"),
    [
        (BAD_PROMPT, 400, "bad_prompt", "rejected"),
        (bad_prompt("a kinder song"), 400, "a kinder song", "rejected"),
        (BARE_STRING, 400, "Bad Request", "rejected"),
        (INVALID_KEY, 401, "invalid_api_key", "refused"),
        (QUOTA_EXCEEDED, 401, "quota_exceeded", "refused"),
        (MISSING_PERMISSIONS, 401, "missing_permissions", "refused"),
        (PAYMENT_REQUIRED, 402, "limited_access", "refused"),
        (PAID_PLAN_REQUIRED, 402, "paid_plan_required", "refused"),
        (FORBIDDEN, 403, "only_for_creator+", "refused"),
        (VALIDATION_ERROR, 422, "greater_than_equal", "rejected"),
        (throttled(), 429, "concurrent_limit_exceeded", "throttled"),
        (throttled(code="system_busy"), 429, "system_busy", "throttled"),
        (SERVER_ERROR, 500, "internal_error", "failed"),
        (unavailable(), 503, "upstream", "failed"),
        (unavailable(502), 502, "upstream", "failed"),
        (HTML_PAGE, 200, "<!DOCTYPE html>", "replaced"),
        (EMPTY_AUDIO, 200, "", "replaced"),
        (JSON_AS_AUDIO, 200, "not a song", "replaced"),
    ],
)
def test_an_answer_that_is_no_song_is_not_billed(
    provider: MusicProvider, fault: Fault, status: int, word: str, outcome: str
) -> None:
    provider.faults.add(times(1, fault))
    response = post(provider)

    assert (response.status_code, provider.calls[0].outcome) == (status, outcome)
    assert word in response.text
    assert response.headers["Content-Type"] == fault.headers["Content-Type"]
    assert provider.songs_made == 0
    assert post(provider).status_code == 200


def test_retry_after_is_sent_only_where_it_was_asked_for(provider: MusicProvider) -> None:
    provider.faults.add(times(1, throttled(7)))
    provider.faults.add(times(1, throttled()))

    assert post(provider).headers["Retry-After"] == "7"
    assert "Retry-After" not in post(provider).headers


def test_an_unknown_throttling_code_is_refused() -> None:
    with pytest.raises(ValueError, match="system_busy"):
        throttled(code="busy")


@pytest.mark.parametrize(
    ("fault", "billed", "error"),
    [
        (CUT_BEFORE, 0, requests.exceptions.ConnectionError),
        (CUT_AFTER, 1, requests.exceptions.ConnectionError),
        (CUT_MIDDLE, 1, requests.exceptions.ChunkedEncodingError),
    ],
)
def test_a_cut_connection_is_billed_once_the_song_was_made(
    provider: MusicProvider, fault: Fault, billed: int, error: type[Exception]
) -> None:
    provider.faults.add(times(1, fault))

    with pytest.raises(error):
        post(provider)
    assert provider.songs_made == billed
    assert provider.calls[0].outcome == ("composed" if billed else "cut")


def test_a_truncated_song_looks_whole_and_is_billed(provider: MusicProvider) -> None:
    provider.faults.add(times(1, TRUNCATED))
    response = post(provider)
    whole = compose(BODY["prompt"], seconds=0.3)

    assert response.status_code == 200
    assert response.content == whole[: len(whole) // 2]
    assert provider.songs_made == 1


def test_a_song_is_billed_although_the_caller_gave_up(provider: MusicProvider) -> None:
    """A read timeout on the caller's side does not stop the provider."""
    provider.compose_seconds = 0.3
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(
            f"{provider.url}/v1/music", json=BODY, headers={"xi-api-key": "k"}, timeout=0.1
        )
    post(provider)

    assert provider.songs_made == 2


def test_a_delay_comes_before_the_work(provider: MusicProvider) -> None:
    provider.faults.add(always(Fault(delay_seconds=0.2)))

    assert post(provider).elapsed.total_seconds() >= 0.2
    assert provider.songs_made == 1


def test_faults_can_tell_calls_apart_by_prompt(
    serve: Callable[[MusicProvider], MusicProvider],
) -> None:
    """The detail is the prompt's SHA-256, and the script sees the raw body."""
    unlucky = hashlib.sha256(b"unlucky").hexdigest()
    script = FaultScript()
    script.add(always(BAD_PROMPT, lambda call: call.detail == unlucky))
    provider = serve(MusicProvider(faults=script, song_seconds=0.3))

    assert post(provider, BODY | {"prompt": "unlucky"}).status_code == 400
    assert post(provider, BODY | {"prompt": "lucky"}).status_code == 200
    assert script.count("music", unlucky) == 1
    assert all(isinstance(call, Call) and b"lucky" in call.body for call in script.calls)


def test_more_songs_at_once_than_the_plan_allows_are_throttled(provider: MusicProvider) -> None:
    """Exactly as many as allowed get through, and nobody else is billed."""
    provider.concurrency_limit = 2
    provider.compose_seconds = 0.5
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(post(provider).status_code))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, 200, 429, 429, 429, 429]
    assert provider.songs_made == 2
    assert 2 <= provider.concurrent_max <= 6
