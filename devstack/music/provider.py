"""The music provider on loopback: ElevenLabs' ``POST /v1/music``, with real MP3s and real errors.

It bills as the provider does: a song is made, and paid for, when its composition ends, whether or
not anybody is still there to take the answer.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aiohttp import web

from devstack.cutting import drop, send_half
from devstack.faults import Call, Fault, FaultScript
from devstack.music.calls import MusicCall, outcome_of, record
from devstack.music.composer import compose
from devstack.music.faults import *  # noqa: F403 (so that this module offers them too)
from devstack.music.faults import AUDIO_TYPE, answer, throttled
from devstack.music.rules import Refusal, read_body, refuse_key, refuse_request
from devstack.serving import LoopbackServer

TAKES = 3
"""Different songs one prompt gives in turn. Few, so that a long load test finds them cached."""


class MusicProvider(LoopbackServer):
    """``compose_seconds`` is how long a song takes, ``song_seconds`` how long it plays (whatever
    length was asked for). ``api_key`` None accepts every key but an empty one.

    ``faults`` is asked once per call, with the service ``music`` and the prompt's SHA-256 as
    detail. After its delay a fault's fields count in this order: cut ``before``, ``status``,
    ``replace_body`` (instead of composing, so not billed); the others need a song and follow it.
    """

    name = "ElevenLabs stand-in"

    def __init__(
        self,
        *,
        faults: FaultScript | None = None,
        compose_seconds: float = 0.0,
        song_seconds: float = 3.0,
        api_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.faults = faults or FaultScript()
        self.compose_seconds = compose_seconds
        self.song_seconds = song_seconds
        self.api_key = api_key
        self.songs_made = 0
        self.calls: list[MusicCall] = []
        self.concurrent_max = 0
        self.concurrency_limit: int | None = None
        self._clock = clock
        self._concurrent = 0
        self._composing = 0
        # One thread: more would only take turns with each other and keep the event loop waiting.
        self._composer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="composer")
        self._takes: Counter[str] = Counter()

    def routes(self) -> list[web.AbstractRouteDef]:
        return [web.post("/v1/music", self._music), web.route("*", "/{path:.*}", _not_found)]

    async def _music(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        call = record(raw, self._clock())
        self.calls.append(call)
        self._concurrent += 1
        self.concurrent_max = max(self.concurrent_max, self._concurrent)
        try:
            return await self._answer(request, raw, call)
        finally:
            self._concurrent -= 1
            call.seconds = self._clock() - call.at

    async def _answer(
        self, request: web.Request, raw: bytes, call: MusicCall
    ) -> web.StreamResponse:
        asked = Call("music", "POST", request.path, call.prompt_sha256, raw, request.headers)
        fault = self.faults.fault_for(asked) or Fault()
        await asyncio.sleep(fault.delay_seconds)
        if fault.cut == "before":
            call.outcome = "cut"
            return drop(request)
        if fault.status is not None:
            call.outcome = outcome_of(fault.status)
            return _fault_response(fault)
        if fault.replace_body:
            call.outcome = "replaced"
            return _fault_response(fault)
        if refusal := self._refuse(request, raw):
            call.outcome = outcome_of(refusal.status)
            return _refusal_response(refusal)
        if self.concurrency_limit is not None and self._composing >= self.concurrency_limit:
            call.outcome = "throttled"
            return _fault_response(throttled())
        audio = await self._compose(call)
        return await _deliver(request, audio, fault)

    def _refuse(self, request: web.Request, raw: bytes) -> Refusal | None:
        refusal = refuse_key(request.headers.get("xi-api-key", ""), self.api_key)
        if refusal is None:
            output_format = request.query.get("output_format", "auto")
            refusal = refuse_request(read_body(raw), output_format)
        return refusal

    async def _compose(self, call: MusicCall) -> bytes:
        take = self._takes[call.prompt_sha256] % TAKES
        self._takes[call.prompt_sha256] += 1
        self._composing += 1
        try:
            await asyncio.sleep(self.compose_seconds)
            audio = await asyncio.get_running_loop().run_in_executor(
                self._composer,
                partial(compose, call.prompt, variant_seed=take, seconds=self.song_seconds),
            )
        finally:
            self._composing -= 1
        self.songs_made += 1
        call.outcome = "composed"
        return audio


def _fault_response(fault: Fault) -> web.Response:
    return web.Response(status=fault.status or 200, headers=fault.headers, body=fault.body)


def _refusal_response(refusal: Refusal) -> web.Response:
    """JSON errors carry one id in the body, where it is an object, and in ``x-trace-id``."""
    trace_id = uuid.uuid4().hex
    detail = refusal.detail
    if isinstance(detail, dict):
        detail = {**detail, "request_id": trace_id}
    return _fault_response(answer(refusal.status, detail, {"x-trace-id": trace_id}))


async def _deliver(request: web.Request, audio: bytes, fault: Fault) -> web.StreamResponse:
    headers = {**AUDIO_TYPE, "song-id": uuid.uuid4().hex[:20], "request-id": uuid.uuid4().hex[:20]}
    if fault.cut == "after":
        return drop(request)
    if fault.cut == "middle":
        return await send_half(request, audio, headers)
    if fault.truncate:
        audio = audio[: len(audio) // 2]
    return web.Response(headers=headers, body=audio)


async def _not_found(request: web.Request) -> web.Response:
    return _fault_response(answer(404, "Not Found"))
