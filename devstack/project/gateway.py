"""The one address of the embedded Supabase: PostgREST and Storage behind the project's API keys."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
from aiohttp import web
from yarl import URL

from devstack.faults import Call, FaultScript
from devstack.faulty import answer_with
from devstack.project.keys import ANON_KEY, PUBLISHABLE_KEY, SECRET_KEY, SERVICE_ROLE_KEY
from devstack.project.storage import Storage
from devstack.project.storage_errors import too_large
from devstack.serving import LoopbackServer

# An opaque key stands for the token that the services behind the gateway understand.
_TOKENS = {
    ANON_KEY: ANON_KEY,
    SERVICE_ROLE_KEY: SERVICE_ROLE_KEY,
    PUBLISHABLE_KEY: ANON_KEY,
    SECRET_KEY: SERVICE_ROLE_KEY,
}
# Headers that concern one connection, or that the gateway sets itself.
_PER_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}
_NOT_FORWARDED = _PER_CONNECTION | {"host", "te", "upgrade", "apikey", "authorization"}
_NOT_RETURNED = _PER_CONNECTION | {"date", "server"}
_REST = "/rest/v1"
_STORAGE = "/storage/v1/"
_MISSING_KEY = {
    "message": "No API key found in request",
    "hint": "No `apikey` request header or url param was found.",
}
_INVALID_KEY = {
    "message": "Invalid API key",
    "hint": "Double check your Supabase `anon` or `service_role` API key.",
}


class Gateway(LoopbackServer):
    """Serves ``/rest/v1`` and ``/storage/v1``, and commits the faults of its script on both.

    Answers of PostgREST pass through memory: it limits them to 1000 rows and has built them
    in memory itself.
    """

    name = "Supabase gateway"

    def __init__(
        self, *, postgrest_url: str, storage: Storage, faults: FaultScript | None = None
    ) -> None:
        super().__init__()
        self._postgrest_url = postgrest_url
        self._storage = storage
        self._faults = faults or FaultScript()
        self._client: aiohttp.ClientSession | None = None

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.route("*", _REST + "{path:(/.*)?}", self._answer_rest),
            web.route("*", _STORAGE + "{path:.*}", self._answer_storage),
        ]

    async def start(self, port: int = 0) -> None:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=256),
            timeout=aiohttp.ClientTimeout(total=None, connect=10),
            auto_decompress=False,
        )
        try:
            await super().start(port)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        await super().stop()
        if self._client is not None:
            await self._client.close()
        await self._storage.close()

    async def _answer_rest(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        path = request.match_info["path"]
        fault = self._faults.fault_for(
            Call("rest", request.method, request.path_qs, path[1:], body, request.headers)
        )
        return await answer_with(fault, request, lambda: self._forward(request, path, body))

    async def _forward(self, request: web.Request, path: str, body: bytes) -> web.StreamResponse:
        token = _token(request)
        if isinstance(token, web.Response):
            return token
        headers = [
            (name, value)
            for name, value in request.headers.items()
            if name.lower() not in _NOT_FORWARDED
        ]
        headers.append(("Authorization", f"Bearer {token}"))
        raw = request.raw_path.removeprefix(_REST) or "/"
        target = URL(self._postgrest_url + raw, encoded=True).without_query_params("apikey")
        assert self._client is not None  # start() has made it
        try:
            async with self._client.request(
                request.method, target, headers=headers, data=body or None, allow_redirects=False
            ) as upstream:
                return web.Response(
                    status=upstream.status,
                    headers=_returned(upstream.headers),
                    body=await upstream.read(),
                )
        except aiohttp.ClientConnectorError:
            return web.json_response({"message": "PostgREST is unreachable"}, status=503)
        except aiohttp.ClientError:
            message = "An invalid response was received from the upstream server"
            return web.json_response({"message": message}, status=502)

    async def _answer_storage(self, request: web.Request) -> web.StreamResponse:
        try:
            await request.read()  # before a delay, since the client may not be there after it
        except web.HTTPRequestEntityTooLarge:
            return too_large().answer()
        path = request.match_info["path"]
        call = self._storage.find_call(request.method, path)
        key = "" if call is None else call.key
        fault = self._faults.fault_for(
            Call("storage", request.method, request.path, key, headers=request.headers)
        )

        async def work() -> web.StreamResponse:
            token = ANON_KEY if call is not None and call.keyless else _token(request)
            if isinstance(token, web.Response):
                return token
            return await self._storage.answer(request, call, token)

        return await answer_with(fault, request, work)


def _token(request: web.Request) -> str | web.Response:
    """The JWT to act for, or the refusal of a request without a valid API key.

    The API key decides whether a request may enter, the Authorization header whom it acts for;
    where that header only repeats the key, or is missing, the key's own role acts.
    """
    key = request.headers.get("apikey") or request.query.get("apikey")
    if not key:
        return web.json_response(_MISSING_KEY, status=401)
    if key not in _TOKENS:
        return web.json_response(_INVALID_KEY, status=401)
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or bearer == key:
        return _TOKENS[key]
    return bearer.strip()


def _returned(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in _NOT_RETURNED]
