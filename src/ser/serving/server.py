"""The server below the web application: sockets, time for headers, and shutdown."""

import asyncio
import socket
from collections import Counter
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ser.errors import UserError
from ser.serving.limits import HEADER_SECONDS

HEADER_BYTES = 32 * 1024  # of all headers together
MESSAGE_BYTES = 256 * 1024  # of a message on a WebSocket
CONNECTIONS = 256  # without complete headers; beyond that, the oldest is closed

Address = tuple[str, int]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises UserError if the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{host}:{port} cannot be used: {reason}; choose another --port") from error


def name_address(listening: socket.socket, root_path: str = "") -> str:
    """The URL at which a browser on this machine finds the service."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, str(host))
    netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"http://{netloc}{root_path.rstrip('/')}"


def run(app: FastAPI, listening: socket.socket, seconds: float) -> None:
    """Serve until SIGTERM or SIGINT; then finish open requests within this many seconds."""
    uvicorn.Server(configure(app, max(1, round(seconds)))).run([listening])


def configure(app: FastAPI, seconds: int, header_seconds: float = HEADER_SECONDS) -> uvicorn.Config:
    guard = HeaderTimeout(app, header_seconds)
    return uvicorn.Config(
        guard,
        http=guard.protocol(),
        ws=WebSocketsSansIOProtocol,
        ws_max_size=MESSAGE_BYTES,
        ws_per_message_deflate=False,  # audio does not shrink, but bombs do
        h11_max_incomplete_event_size=HEADER_BYTES,
        proxy_headers=False,  # HeaderTimeout knows connections by their own address
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=seconds,
    )


class HeaderTimeout:
    """ASGI middleware and protocol that close connections whose headers do not arrive in time.

    uvicorn has no such limit: the protocol starts a timer, and the application stops it when
    uvicorn hands it the request. Both know the connection by the address of the client.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app, self.seconds = app, seconds
        self._timers: dict[Address, tuple[asyncio.TimerHandle, asyncio.BaseTransport]] = {}
        self._busy: Counter[Address] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client is None:
            await self.app(scope, receive, send)
            return
        client = (client[0], client[1])
        self.stop(client)
        self._busy[client] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._busy[client] -= 1
            if not self._busy[client]:
                del self._busy[client]

    def start(self, transport: asyncio.BaseTransport) -> None:
        """Expect headers on a connection, unless they are expected or a request is in progress."""
        client = address_of(transport)
        if client is None or client in self._timers or client in self._busy:
            return
        if len(self._timers) >= CONNECTIONS:
            self._close(next(iter(self._timers)))
        timer = asyncio.get_running_loop().call_later(self.seconds, self._close, client)
        self._timers[client] = (timer, transport)

    def stop(self, client: Address | None) -> None:
        if client is not None and client in self._timers:
            self._timers.pop(client)[0].cancel()

    def _close(self, client: Address) -> None:
        timer, transport = self._timers.pop(client)
        timer.cancel()
        transport.close()

    def protocol(self) -> type[asyncio.Protocol]:
        guard = self

        class TimedProtocol(H11Protocol):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                guard.start(transport)

            def data_received(self, data: bytes) -> None:
                guard.start(self.transport)
                super().data_received(data)

            def connection_lost(self, exc: Exception | None) -> None:
                guard.stop(address_of(self.transport))
                super().connection_lost(exc)

        return TimedProtocol


def address_of(transport: asyncio.BaseTransport) -> Address | None:
    """The address of the client; None if it had gone before the connection was accepted."""
    peer = transport.get_extra_info("peername")
    return None if peer is None else (peer[0], peer[1])
