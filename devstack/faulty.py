"""Commit a fault on one HTTP call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web

from devstack.cutting import drop, send_half
from devstack.faults import Fault


class FileAnswer(web.FileResponse):
    """An answer from a file that knows its file, so that a fault can cut it."""

    def __init__(self, path: Path, headers: Mapping[str, str]) -> None:
        super().__init__(path, headers=headers)
        self.path = path


async def answer_with(
    fault: Fault | None,
    request: web.Request,
    work: Callable[[], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Answer a request with what ``work`` returns, or as the fault would have it.

    ``work`` must answer from memory or from a file, so that its body can be cut.
    """
    if fault is None:
        return await work()
    await asyncio.sleep(fault.delay_seconds)
    if fault.cut == "before":
        return drop(request)
    if fault.status is None:
        answer = await work()
    else:
        answer = web.Response(status=fault.status, headers=fault.headers, body=fault.body)
    if fault.cut == "after":
        return drop(request)
    if fault.cut == "middle":
        return await send_half(request, _body(answer), _headers(answer))
    if fault.replace_body:
        return web.Response(headers=fault.headers, body=fault.body)
    if fault.truncate:
        body = _body(answer)
        half = body[: len(body) // 2]
        return web.Response(status=answer.status, headers=_headers(answer), body=half)
    return answer


def _body(answer: web.StreamResponse) -> bytes:
    if isinstance(answer, FileAnswer):
        return answer.path.read_bytes()
    if isinstance(answer, web.Response) and isinstance(answer.body, bytes | bytearray):
        return bytes(answer.body)
    return b""


def _headers(answer: web.StreamResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "Content-Length"}
