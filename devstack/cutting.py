"""Answers that break off: how a stand-in drops a connection on purpose."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web


def drop(request: web.Request) -> web.Response:
    """Close the caller's connection without an answer. Return what this returns."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()  # aiohttp wants one; the closed connection swallows it


async def send_half(
    request: web.Request, body: bytes, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Promise all of ``body`` by Content-Length, send half of it and close the connection."""
    response = web.StreamResponse(headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    drop(request)
    return response
