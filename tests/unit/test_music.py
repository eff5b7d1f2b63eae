"""The ElevenLabs client: what it asks for, and how every way in which a call can end is told apart.

Over real HTTP against the stand-in, with the answers that were recorded from the real one.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
import requests.exceptions
import urllib3.exceptions

from devstack.faults import Fault, always, times
from devstack.music.composer import compose
from devstack.music.faults import (
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
    answer,
    bad_prompt,
    throttled,
    unavailable,
)
from devstack.music.provider import MusicProvider
from devstack.serving import free_port
from songswipe.audio import mp3_duration_ms
from songswipe.errors import (
    MusicError,
    MusicOutcomeUnknownError,
    MusicRefusedError,
    MusicRejectedError,
    MusicThrottledError,
    MusicUnavailableError,
    PermanentError,
    TransientError,
)
from songswipe.models import Song
from songswipe.music import MAX_AUDIO_BYTES, MusicClient, _from_requests

PROMPT = "a birthday song"
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)

Rejected = MusicRejectedError
Refused = MusicRefusedError
Throttled = MusicThrottledError
Unavailable = MusicUnavailableError
Unknown = MusicOutcomeUnknownError


def client_of(url: str, **changes: Any) -> MusicClient:
    settings: dict[str, Any] = {
        "api_key": "key_of_a_test",
        "base_url": url,
        "model_id": "music_v1",
        "output_format": "mp3_44100_128",
        "connect_timeout_seconds": 2.0,
        "read_timeout_seconds": 5.0,
        "total_timeout_seconds": 10.0,
        "now": lambda: NOW,
    }
    return MusicClient(**(settings | changes))


@pytest.fixture
def client(provider: MusicProvider) -> Iterator[MusicClient]:
    made = client_of(provider.url)
    yield made
    made._session.close()


def error_of(client: MusicClient) -> MusicError:
    with pytest.raises(MusicError) as raised:
        client.compose(PROMPT, 60_000)
    return raised.value


# What it asks for


def test_a_song_is_bought_with_one_call(client: MusicClient, provider: MusicProvider) -> None:
    song = client.compose(PROMPT, 60_000)

    assert song.audio == compose(PROMPT, seconds=0.3)
    assert song.duration_ms == mp3_duration_ms(song.audio)
    assert song.provider_song_id
    assert len(provider.calls) == 1


def test_everything_that_the_provider_could_choose_is_said(
    client: MusicClient, provider: MusicProvider
) -> None:
    """The model by name, the length in milliseconds, and that there are lyrics."""
    client.compose(PROMPT, 90_000)
    [call] = provider.faults.calls

    assert (call.method, call.path) == ("POST", "/v1/music")
    assert json.loads(call.body) == {
        "prompt": PROMPT,
        "music_length_ms": 90_000,
        "model_id": "music_v1",
        "force_instrumental": False,
    }
    assert call.headers["Content-Type"] == "application/json"
    assert call.headers["xi-api-key"] == "key_of_a_test"


def test_the_model_of_the_settings_is_asked_for(provider: MusicProvider) -> None:
    client_of(provider.url, model_id="music_v2_5").compose(PROMPT, 60_000)

    assert provider.calls[0].model_id == "music_v2_5"


def test_the_output_format_is_in_the_query(provider: MusicProvider) -> None:
    """In the body it would be ignored, and the song would come in another format."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        client = client_of(
            f"http://127.0.0.1:{server.getsockname()[1]}",
            output_format="mp3_48000_192",
            read_timeout_seconds=0.05,
        )
        with pytest.raises(Unknown):
            client.compose(PROMPT, 60_000)
        connection, _ = server.accept()
        with connection:
            request = connection.recv(65_536)

    assert request.startswith(b"POST /v1/music?output_format=mp3_48000_192 HTTP/1.1\r\n")
    assert b"mp3_48000_192" not in request.partition(b"\r\n")[2]


def test_the_connection_is_not_kept(client: MusicClient, provider: MusicProvider) -> None:
    """The server could close it just as the next call is sent, and that call would be in doubt."""
    client.compose(PROMPT, 60_000)

    assert provider.faults.calls[0].headers["Connection"] == "close"


@pytest.mark.parametrize("prompt", ["Ein schönes Lied 🎂", "line\nbreak", '"quotes" \\ and «more»'])
def test_a_prompt_arrives_as_it_was_written(
    client: MusicClient, provider: MusicProvider, prompt: str
) -> None:
    client.compose(prompt, 60_000)

    assert provider.calls[0].prompt == prompt


# How the provider answers

ANSWERS: list[tuple[str, Fault, type[MusicError], str, int | None]] = [
    ("bad prompt", BAD_PROMPT, Rejected, "bad_prompt", 400),
    ("bad prompt, suggestion", bad_prompt("x"), Rejected, "bad_prompt", 400),
    (
        "bad plan",
        answer(400, {"status": "bad_composition_plan"}),
        Rejected,
        "bad_composition_plan",
        400,
    ),
    ("bare string", BARE_STRING, Rejected, "http_400", 400),
    ("invalid key", INVALID_KEY, Refused, "invalid_api_key", 401),
    ("missing permission", MISSING_PERMISSIONS, Refused, "unauthorized", 401),
    ("out of credits", QUOTA_EXCEEDED, Refused, "quota_exceeded", 401),
    ("free plan", PAYMENT_REQUIRED, Refused, "limited_access", 402),
    ("paid plan", PAID_PLAN_REQUIRED, Refused, "paid_plan_required", 402),
    ("feature", FORBIDDEN, Refused, "only_for_creator+", 403),
    ("wrong path", answer(404, "Not Found"), Refused, "http_404", 404),
    ("wrong method", answer(405, "Method Not Allowed"), Refused, "http_405", 405),
    ("redirect", Fault(status=307, headers={"Location": "/v1/other"}), Refused, "http_307", 307),
    ("too large", Fault(status=413), Rejected, "invalid_request", 413),
    ("validation, list", VALIDATION_ERROR, Rejected, "invalid_request", 422),
    (
        "validation, object",
        answer(422, {"message": "seed cannot be used together with prompt."}),
        Rejected,
        "invalid_request",
        422,
    ),
    ("concurrency", throttled(), Throttled, "concurrent_limit_exceeded", 429),
    ("rate", throttled(code="rate_limit_exceeded"), Throttled, "rate_limit_exceeded", 429),
    ("busy", throttled(code="system_busy"), Throttled, "system_busy", 429),
    ("throttled by a proxy", Fault(status=429, body=b"<html>"), Throttled, "http_429", 429),
    ("error", SERVER_ERROR, Unavailable, "http_500", 500),
    ("bad gateway", unavailable(502), Unavailable, "http_502", 502),
    ("unavailable", unavailable(503), Unavailable, "http_503", 503),
    ("overloaded", unavailable(529), Unavailable, "http_529", 529),
    ("request timeout", unavailable(408), Unavailable, "http_408", 408),
    ("conflict", unavailable(409), Unavailable, "http_409", 409),
    ("too early", unavailable(425), Unavailable, "http_425", 425),
    ("gateway timeout", unavailable(504), Unknown, "http_504", 504),
    ("origin timeout", unavailable(524), Unknown, "http_524", 524),
    ("html", HTML_PAGE, Unavailable, "not_audio", 200),
    ("empty", EMPTY_AUDIO, Unavailable, "not_audio", 200),
    ("json", JSON_AS_AUDIO, Unavailable, "not_audio", 200),
    ("truncated", TRUNCATED, Unknown, "audio_truncated", 200),
    ("cut before", CUT_BEFORE, Unknown, "connection_cut", None),
    ("cut after", CUT_AFTER, Unknown, "connection_cut", None),
    ("cut in the middle", CUT_MIDDLE, Unknown, "connection_cut", None),
]


@pytest.mark.parametrize(
    ("fault", "kind", "code", "status"),
    [row[1:] for row in ANSWERS],
    ids=[row[0] for row in ANSWERS],
)
def test_an_answer_is_known_by_its_status_and_code(
    client: MusicClient,
    provider: MusicProvider,
    fault: Fault,
    kind: type[MusicError],
    code: str,
    status: int | None,
) -> None:
    """And whatever it is, it is one call: nothing is retried in hiding."""
    provider.faults.add(always(fault))
    error = error_of(client)

    assert type(error) is kind
    assert (error.code, error.http_status) == (code, status)
    assert len(provider.calls) == 1


@pytest.mark.parametrize(
    ("kind", "outcome", "base"),
    [
        (Rejected, "rejected", PermanentError),
        (Refused, "refused", PermanentError),
        (Throttled, "refused", TransientError),
        (Unavailable, "refused", TransientError),
        (Unknown, "unknown", TransientError),
    ],
)
def test_a_kind_of_error_says_what_the_ledger_notes_and_whether_to_try_again(
    kind: type[MusicError], outcome: str, base: type[Exception]
) -> None:
    assert kind.outcome == outcome
    assert issubclass(kind, base)


@pytest.mark.parametrize(
    "detail",
    [
        None,
        [],
        [[]],
        7,
        "quota_exceeded",
        {},
        {"code": None, "status": None},
        {"code": 7},
        {"code": ["quota_exceeded"]},
        {"code": ""},
        {"code": "x" * 65},
        {"code": "Words of a customer"},
        {"code": "two\nlines"},
        {"status": {"status": "quota_exceeded"}},
        {"message": "quota_exceeded"},
    ],
    ids=str,
)
def test_a_code_is_one_plain_word_in_its_field_or_the_status_counts(
    client: MusicClient, provider: MusicProvider, detail: object
) -> None:
    """Never a word found in a message, and never somebody's own words."""
    provider.faults.add(always(answer(401, detail)))

    assert error_of(client).code == "http_401"


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"quota_exceeded"', b"{", b"<html>", b"\xff\xfe", b"[" * 50_000]
)
def test_an_error_s_body_may_be_anything(
    client: MusicClient, provider: MusicProvider, body: bytes
) -> None:
    provider.faults.add(always(Fault(status=402, body=body)))

    assert error_of(client).code == "http_402"


def test_the_newer_field_counts_before_the_older(
    client: MusicClient, provider: MusicProvider
) -> None:
    provider.faults.add(always(answer(401, {"status": "older", "code": "newer"})))

    assert error_of(client).code == "newer"


@pytest.mark.parametrize(
    ("data", "suggestion"),
    [
        ({"prompt_suggestion": "A warm song."}, "A warm song."),
        ({"prompt_suggestion": ""}, None),
        ({"prompt_suggestion": "  "}, None),
        ({"prompt_suggestion": None}, None),
        ({"prompt_suggestion": 7}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
    ids=str,
)
def test_a_rejection_carries_the_suggestion_it_came_with(
    client: MusicClient, provider: MusicProvider, data: object, suggestion: str | None
) -> None:
    provider.faults.add(always(answer(400, {"status": "bad_prompt", "data": data})))
    error = error_of(client)

    assert isinstance(error, Rejected)
    assert error.suggestion == suggestion


# Retry-After


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("20", 20.0),
        ("0", 1.0),
        ("1", 1.0),
        ("3600", 3600.0),
        ("3601", 3600.0),
        ("9" * 30, 3600.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 1.0),
        (format_datetime(NOW + timedelta(days=2), usegmt=True), 3600.0),
        ("Mon, 23 Nov 2026 12:00:30 +0000", 30.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("Mon, 32 Nov 2026 12:00:30 GMT", None),
        ("Mon, 23 Nov 2026 12:00:30 -0000", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_is_read_in_both_forms_and_kept_within_bounds(
    client: MusicClient, provider: MusicProvider, header: str, seconds: float | None, status: int
) -> None:
    """Between a second and an hour; one that makes no sense is none."""
    provider.faults.add(always(Fault(status=status, headers={"Retry-After": header})))
    error = error_of(client)

    assert isinstance(error, TransientError)
    assert error.retry_after_seconds == seconds


# Silence, and too much


def test_silence_after_the_request_leaves_the_outcome_unknown(provider: MusicProvider) -> None:
    provider.faults.add(always(Fault(delay_seconds=0.5)))
    error = error_of(client_of(provider.url, read_timeout_seconds=0.05))

    assert (type(error), error.code) == (Unknown, "read_timeout")


def test_nobody_there_means_that_nothing_was_made() -> None:
    error = error_of(client_of(f"http://127.0.0.1:{free_port()}"))

    assert (type(error), error.code) == (Unavailable, "connection_failed")


def test_an_address_that_does_not_exist_means_that_nothing_was_made() -> None:
    error = error_of(client_of("http://nobody.invalid"))

    assert (type(error), error.code) == (Unavailable, "connection_failed")


def test_a_server_that_does_not_speak_tls_means_that_nothing_was_made(
    provider: MusicProvider,
) -> None:
    error = error_of(client_of(provider.url.replace("http:", "https:")))

    assert (type(error), error.code) == (Unavailable, "connection_failed")


@pytest.mark.parametrize("url", ["htp://x", "nonsense", "http://", "http://[::1", "http://x:port"])
def test_an_address_that_makes_no_sense_is_the_operator_s_business(url: str) -> None:
    error = error_of(client_of(url))

    assert (type(error), error.code) == (Refused, "request_not_sendable")


@pytest.mark.parametrize("key", ["two\nlines", " leading"])
def test_a_key_that_no_header_can_hold_is_the_operator_s_business(
    provider: MusicProvider, key: str
) -> None:
    error = error_of(client_of(provider.url, api_key=key))

    assert (type(error), error.code) == (Refused, "request_not_sendable")
    assert provider.calls == []


def test_the_whole_call_is_bounded_although_every_read_is_answered(
    provider: MusicProvider,
) -> None:
    """The clock is past the end when the first part of the answer has come."""
    clock = iter([0.0, 10.1])
    client = client_of(provider.url, total_timeout_seconds=10.0, clock=lambda: next(clock))
    error = error_of(client)

    assert (type(error), error.code) == (Unknown, "total_timeout")
    assert provider.songs_made == 1


def test_a_call_may_take_all_of_its_time(provider: MusicProvider) -> None:
    clock = iter([0.0, *[10.0] * 100])
    client = client_of(provider.url, total_timeout_seconds=10.0, clock=lambda: next(clock))

    assert isinstance(client.compose(PROMPT, 60_000), Song)


def test_an_answer_that_never_ends_is_given_up(
    client: MusicClient, provider: MusicProvider
) -> None:
    too_much = Fault(replace_body=True, body=b"\0" * (MAX_AUDIO_BYTES + 1))
    provider.faults.add(times(1, too_much))
    error = error_of(client)

    assert (type(error), error.code) == (Unknown, "body_too_large")


def test_a_client_goes_on_after_any_of_these(client: MusicClient, provider: MusicProvider) -> None:
    for fault in (CUT_MIDDLE, throttled(), CUT_BEFORE, HTML_PAGE):
        provider.faults.add(times(1, fault))
        error_of(client)
        provider.faults.clear()

    assert client.compose(PROMPT, 60_000).duration_ms > 0
    assert len(provider.calls) == 5


# Everything that the library can raise


def exceptions_of(module: Any) -> list[type[Exception]]:
    found = [item for item in vars(module).values() if isinstance(item, type)]
    return sorted(
        (item for item in found if issubclass(item, requests.RequestException)),
        key=lambda item: item.__name__,
    )


REQUESTS_ERRORS = exceptions_of(requests.exceptions)
EXPECTED: dict[str, tuple[type[MusicError], str]] = {
    "ChunkedEncodingError": (Unknown, "connection_cut"),
    "ConnectTimeout": (Unavailable, "connect_timeout"),
    "ConnectionError": (Unknown, "connection_cut"),
    "ContentDecodingError": (Unknown, "connection_cut"),
    "HTTPError": (Unknown, "connection_cut"),
    "InvalidHeader": (Refused, "request_not_sendable"),
    "InvalidJSONError": (Unknown, "connection_cut"),
    "InvalidProxyURL": (Refused, "request_not_sendable"),
    "InvalidSchema": (Refused, "request_not_sendable"),
    "InvalidURL": (Refused, "request_not_sendable"),
    "JSONDecodeError": (Refused, "request_not_sendable"),
    "MissingSchema": (Refused, "request_not_sendable"),
    "ProxyError": (Unavailable, "connection_failed"),
    "ReadTimeout": (Unknown, "read_timeout"),
    "RequestException": (Unknown, "connection_cut"),
    "RetryError": (Unknown, "connection_cut"),
    "SSLError": (Unavailable, "connection_failed"),
    "StreamConsumedError": (Unknown, "connection_cut"),
    "Timeout": (Unknown, "connection_cut"),
    "TooManyRedirects": (Unknown, "connection_cut"),
    "URLRequired": (Unknown, "connection_cut"),
    "UnrewindableBodyError": (Unknown, "connection_cut"),
}
"""What is not known to have been refused before it was sent may have been billed."""


def test_every_exception_of_requests_is_thought_of_here() -> None:
    """A new one in a later version fails this."""
    assert [error.__name__ for error in REQUESTS_ERRORS] == sorted(EXPECTED)


@pytest.mark.parametrize("foreign", REQUESTS_ERRORS, ids=lambda error: error.__name__)
def test_every_exception_of_requests_becomes_one_of_ours(foreign: type[Exception]) -> None:
    error = _from_requests(raised_by_requests(foreign))

    assert (type(error), error.code) == EXPECTED[foreign.__name__]


def raised_by_requests(foreign: type[Exception]) -> requests.RequestException:
    if foreign is requests.exceptions.JSONDecodeError:
        return requests.exceptions.JSONDecodeError("words of a customer", "", 0)
    made = foreign("words of a customer")
    assert isinstance(made, requests.RequestException)
    return made


@pytest.mark.parametrize("foreign", REQUESTS_ERRORS, ids=lambda error: error.__name__)
def test_what_requests_said_is_not_passed_on(
    monkeypatch: pytest.MonkeyPatch, foreign: type[Exception]
) -> None:
    """Neither in the message nor as a cause: it could hold the address, or more."""
    client = client_of("http://127.0.0.1")

    def fail(*args: object, **kwargs: object) -> None:
        raise raised_by_requests(foreign)

    monkeypatch.setattr(client._session, "post", fail)
    error = error_of(client)

    assert "customer" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (urllib3.exceptions.NewConnectionError(None, "refused"), Unavailable),  # type: ignore[arg-type]
        (urllib3.exceptions.ConnectTimeoutError("slow"), Unavailable),
        (urllib3.exceptions.ProtocolError("cut"), Unknown),
        (None, Unknown),
    ],
)
def test_only_a_connection_that_never_was_is_known_to_have_cost_nothing(
    reason: Exception | None, kind: type[MusicError]
) -> None:
    retried = urllib3.exceptions.MaxRetryError(None, "/", reason)  # type: ignore[arg-type]

    assert type(_from_requests(requests.ConnectionError(retried))) is kind


@pytest.mark.parametrize(
    "inside", [http.client.RemoteDisconnected("cut"), ConnectionResetError(104, "reset")]
)
def test_a_connection_that_was_cut_leaves_the_outcome_unknown(inside: Exception) -> None:
    cut = urllib3.exceptions.ProtocolError("Connection aborted.", inside)

    assert type(_from_requests(requests.ConnectionError(cut))) is Unknown
