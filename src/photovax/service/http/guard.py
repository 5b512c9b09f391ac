"""Checks before a request reaches the API (host, token, rate, size), and headers of answers."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager, nullcontext

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from photovax.errors import UsageError
from photovax.service.http.problems import Problem
from photovax.service.http.rates import Rates, Shares
from photovax.service.http.tokens import Tokens
from photovax.service.logs import UNEXPECTED, say, say_unexpected
from photovax.service.settings import CONNECTIONS, Settings

__all__ = ["Guard"]

_HEALTH = "/v1/health"
_OPEN = (_HEALTH, "/v1/openapi.json")
_REQUESTS = CONNECTIONS // 4  # that one client may hold open
# Bytes of uploads on their way, of one client and of all, in the largest allowed upload.
_UPLOADS_EACH, _UPLOADS = 16, 64
_GONE = 499  # the client closed the connection before the answer
# Time limits of a body: until its next part, and until its last.
_PART_SECONDS = 30.0
_BODY_SECONDS = 900.0
_POLICY = (
    "default-src 'none'; script-src 'self'{more}; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DEVICE = "/device"  # the page that immunizes in the browser, and what it loads
_HEADERS = {
    "Content-Security-Policy": _POLICY.format(more=""),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # The page may then use several threads.
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI middleware.

    It runs before the body is read: FastAPI would read a whole upload before it checks the token.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, tokens: Tokens, registry: CollectorRegistry
    ) -> None:
        self._app, self._settings, self._tokens = app, settings, tokens
        self._hosts = {host.lower() for host in settings.hosts}
        self._rates = Rates(settings.requests_per_minute)
        self._shares = Shares(
            _REQUESTS, _UPLOADS_EACH * settings.max_bytes, _UPLOADS * settings.max_bytes
        )
        self._count = Counter(
            "photovax_requests", "Requests answered.", ("route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "photovax_request_seconds", "Time to the end of the answer.", registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = self._path(scope)
        # FastAPI answers HEAD nowhere by itself. The server has its own scope, and leaves the body
        # out.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        scope = {**scope, "root_path": self._settings.root_path, "method": method}
        answer, began = _Answer(send, path), time.perf_counter()
        try:
            await self._served(scope, receive, answer)
        except Problem as error:
            await error.answer()(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001 - the server would log the message
            say_unexpected("service", error)
            if answer.status == _GONE:
                unexpected = Problem(500, "internal", UNEXPECTED)
                await unexpected.answer()(scope, receive, answer.send)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._count.labels(route, str(answer.status)).inc()
            self._seconds.observe(time.perf_counter() - began)

    async def _served(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers = Headers(scope=scope)
        owner, client = self._admitted(scope, headers)
        scope.setdefault("state", {})["owner"] = owner
        body = _Body(receive, self._settings.max_bytes, answer)
        with self._held(scope, headers, client):
            await self._app(scope, body.receive, answer.send)

    def _path(self, scope: Scope) -> str:
        """The path below the root, which is removed as routing does: in whole parts."""
        path: str = scope["path"]
        root = self._settings.root_path
        return path.removeprefix(root) if path.startswith(f"{root}/") else path

    def _held(
        self, scope: Scope, headers: Headers, client: str | None
    ) -> AbstractContextManager[None]:
        """Count a request and the bytes of its body, the most allowed if it does not say them."""
        if client is None:
            return nullcontext()
        sends = scope["method"] not in ("GET", "DELETE")
        size = int(headers.get("content-length", self._settings.max_bytes)) if sends else 0
        return self._shares.held(client, size)

    def _admitted(self, scope: Scope, headers: Headers) -> tuple[str, str | None]:
        """Return the owner of a request, a token's id or nothing, and whose limits it counts for.

        That is None for what is open to everyone.
        """
        self._check_site(scope, headers)
        path = self._path(scope)
        if path in _OPEN or not (path.startswith("/v1/") or path == "/metrics"):
            return "", None
        owner, address = "", (scope.get("client") or ("", 0))[0]
        if self._settings.tokens:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            found = self._owner(token) if scheme.lower() == "bearer" else None
            if found is None:
                self._check_rate(f"nobody at {address}")
                raise Problem(
                    *(401, "no-token", "send the header Authorization: Bearer TOKEN"),
                    {"WWW-Authenticate": "Bearer"},
                )
            owner = found
        self._check_rate(owner or address)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._settings.max_bytes:
            raise Problem(413, "too-large", _too_large(self._settings.max_bytes))
        return owner, owner or address

    def _owner(self, token: str) -> str | None:
        try:
            return self._tokens.owner(token)
        except UsageError as error:  # as while somebody edits it
            say("service", str(error))
            raise Problem(
                503, "no-tokens", "tokens cannot be read at present", {"Retry-After": "30"}
            ) from None

    def _check_site(self, scope: Scope, headers: Headers) -> None:
        """Refuse requests by other sites in a browser, and host names rebound to this one."""
        host = headers.get("host", "").lower()
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        probed = self._path(scope) == _HEALTH  # by address, and it holds nothing private
        if self._hosts and name.removesuffix(".") not in self._hosts and not probed:
            raise Problem(421, "wrong-host", "this service does not have that host name")
        if scope["method"] == "GET":
            return
        origin = headers.get("origin")
        if origin in self._settings.origins:
            return
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") or (
            origin is not None and origin.lower().partition("://")[2] != host
        ):
            raise Problem(403, "cross-site", "requests from other sites are refused")

    def _check_rate(self, client: str) -> None:
        if wait := self._rates.wait(client):
            raise Problem(
                *(429, "too-many-requests", "the rate limit is reached"),
                {"Retry-After": str(int(wait) + 1)},
            )


class _Answer:
    """Adds headers to an answer, and replaces it if the body was too large or too slow."""

    def __init__(self, send: Send, path: str) -> None:
        self._send, self._path = send, path
        self.status = _GONE
        self.refused: Problem | None = None
        self._replaced = False

    async def send(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            if self.refused is not None:
                self._replaced = True
                response = self.refused.answer()
                headers = response.raw_headers
                message = {**message, "status": response.status_code, "headers": headers}
                self._finish(message)
                await self._send(message)
                await self._send({"type": "http.response.body", "body": response.body})
                return
            self._finish(message)
        await self._send(message)

    def _finish(self, message: Message) -> None:
        self.status = message["status"]
        headers = MutableHeaders(scope=message)
        for name, value in _HEADERS.items():
            headers[name] = value
        if self._path.startswith(_DEVICE):
            more = " 'wasm-unsafe-eval'; worker-src 'self'"  # it compiles WebAssembly
            headers["Content-Security-Policy"] = _POLICY.format(more=more)
        # Pages and their scripts change together with the service.
        headers["Cache-Control"] = "no-store" if self._path.startswith("/v1/") else "no-cache"


class _Body:
    """Ends a body that is too large or too slow."""

    def __init__(self, receive: Receive, limit: int, answer: _Answer) -> None:
        self._receive, self._limit, self._answer = receive, limit, answer
        self._size = 0
        self._whole = False
        self._end: float | None = None

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()
        now = asyncio.get_running_loop().time()
        self._end = self._end or now + _BODY_SECONDS
        try:
            async with asyncio.timeout_at(min(now + _PART_SECONDS, self._end)):
                message = await self._receive()
        except TimeoutError:
            self._answer.refused = Problem(408, "too-slow", "the upload was too slow")
            return {"type": "http.disconnect"}
        self._size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._size > self._limit:
            self._answer.refused = Problem(413, "too-large", _too_large(self._limit))
            return {"type": "http.disconnect"}
        return message


def _too_large(limit: int) -> str:
    return f"the request is larger than the {limit:,} bytes allowed"
