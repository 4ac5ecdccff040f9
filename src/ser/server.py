"""Where a web application listens, who may name it, and how it ends."""

import socket

import uvicorn
from fastapi import FastAPI

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})  # as typed, and as in a header


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections already; raises OSError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{host}:{port} cannot be used: {reason}; choose another --port") from error


def name_address(listening: socket.socket) -> str:
    """The address as a browser wants it."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, str(host))
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def name_hosts(host: str) -> list[str] | None:
    """The names that a service on a loopback address answers to: another site's page has none."""
    return sorted(LOOPBACK) if host in LOOPBACK else None


def run(app: FastAPI, listening: socket.socket, seconds: float) -> None:
    """Answer until SIGTERM or SIGINT; then end what was begun, within so many seconds."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(seconds)),
    )
    uvicorn.Server(config).run([listening])
