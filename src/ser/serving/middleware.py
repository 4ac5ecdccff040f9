"""ASGI middleware of a service: the log, access, and limits of each request.

The log holds no content, file names or tokens of requests, and no paths but those of routes.
"""

import asyncio
import time
import uuid

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from ser.serving.access import Access, is_open
from ser.serving.body import CLIENT_GONE, RequestBody
from ser.serving.limits import Limits
from ser.serving.logs import LOG
from ser.serving.telemetry import Telemetry

CONNECTION_LOST = 1006  # close code of a WebSocket, for the log only


def refuse(status: int, message: str, **headers: str) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)


class RequestLog:
    """Middleware that logs and counts each request, and refuses foreign host names."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, access: Access) -> None:
        self.app, self.telemetry, self.access = app, telemetry, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        started, begun = time.monotonic(), False
        status = 500 if scope["type"] == "http" else CONNECTION_LOST  # without an answer

        async def watch(message: Message) -> None:
            nonlocal begun, status
            begun = True
            if message["type"].endswith(".response.start"):
                status = message["status"]
            elif message["type"] == "websocket.close":
                status = message.get("code", 1000)
            await send(message)

        try:
            if self.access.accepts_host(Headers(scope=scope).get("host", "")):
                await self.app(scope, receive, watch)
            else:
                await respond(refuse_host(), scope, receive, watch)
        except asyncio.CancelledError:  # the time for the shutdown of the server is over
            if scope["type"] == "http" and not begun:
                await refuse(503, "the service is shutting down")(scope, receive, watch)
        finally:
            self.report(scope, status, time.monotonic() - started)

    def report(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")  # a path as typed may hold anything
        self.telemetry.requests.labels(route, status).inc()
        self.telemetry.seconds.labels(route).observe(seconds)
        facts = {
            "request": uuid.uuid4().hex[:12],
            "method": scope.get("method", "WEBSOCKET"),
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
        }
        LOG.info("answered", extra={"facts": facts | scope.get("state", {}).get("facts", {})})


def refuse_host() -> JSONResponse:
    return refuse(
        400, "the service does not answer to this host name; its owner can add it: --allowed-host"
    )


async def respond(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request or the handshake of a WebSocket."""
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)


class PathPrefix:
    """Middleware for a proxy that serves the application under a path prefix, stripped or not."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app, self.prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["path"] == self.prefix and scope["type"] == "http":
            # Relative links of the start page need the slash.
            await RedirectResponse(f"{self.prefix}/")(scope, receive, send)
        else:
            inside = scope["path"].startswith(f"{self.prefix}/")
            path = scope["path"] if inside else self.prefix + scope["path"]
            scope.update(root_path=self.prefix, path=path)  # the log reads the route from it
            await self.app(scope, receive, send)


class RequestLimits:
    """Middleware that checks token, size and time of each HTTP request.

    It answers 401 without the token, 408 if the body arrives too slowly, 413 if it is too large,
    503 if too many bodies are being received, and 504 if the answer takes too long. A request
    whose client disconnects is cancelled.
    """

    def __init__(self, app: ASGIApp, limits: Limits, access: Access) -> None:
        self.app, self.limits, self.access = app, limits, access
        self.bodies: set[RequestBody] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif (refusal := self.check(scope)) is not None:
            await refusal(scope, receive, send)
        else:
            await self.run(scope, receive, send)

    def check(self, scope: Scope) -> JSONResponse | None:
        """The refusal of a request that its headers give reason for."""
        headers = Headers(scope=scope)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not is_open(path) and not self.access.accepts_header(headers.get("authorization", "")):
            message = "the token is missing or wrong; send it as 'Authorization: Bearer TOKEN'"
            return refuse(401, message, **{"WWW-Authenticate": "Bearer"})
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > self.limits.bytes:
            return refuse(413, self.limits.too_large)
        if has_body(headers) and self.receiving >= self.limits.receiving:
            message = f"{self.receiving} requests are being received; try again in a second"
            return refuse(503, message, **{"Retry-After": "1"})
        return None

    @property
    def receiving(self) -> int:
        return sum(not body.complete for body in self.bodies)

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        deadline = asyncio.timeout(None)
        body = RequestBody(receive, self.limits, deadline)
        expected = has_body(Headers(scope=scope))
        if expected:
            self.bodies.add(body)
        try:
            async with deadline:
                if not expected:
                    body.begin_answer()
                try:
                    await self.app(scope, body.receive, note)
                finally:
                    body.close()
        except TimeoutError:
            if not deadline.expired():  # the application's own
                raise
            if not begun:  # otherwise the server closes the connection
                await self.refuse_late(body)(scope, receive, send)
        finally:
            self.bodies.discard(body)

    def refuse_late(self, body: RequestBody) -> JSONResponse:
        if body.disconnected.is_set():
            return refuse(CLIENT_GONE, "the client has disconnected")
        message = f"the answer took longer than {self.limits.timeout:g} s; send a shorter recording"
        return refuse(504, message)


def has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
