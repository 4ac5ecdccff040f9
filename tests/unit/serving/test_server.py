"""Connections below the web application."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI
from uvicorn.server import ServerState

from ser.serving.server import configure


class GoneTransport(asyncio.Transport):
    """A connection that its client reset before it was accepted: it has no address."""

    def __init__(self) -> None:
        super().__init__({"peername": None, "sockname": ("127.0.0.1", 8000)})

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        pass


def test_a_client_that_has_gone_before_it_was_accepted_is_no_error():
    async def connect() -> None:
        config = configure(FastAPI(), 1)
        config.load()
        protocol: Any = config.http_protocol_class
        protocol = protocol(config, ServerState(), {})
        protocol.connection_made(GoneTransport())
        protocol.data_received(b"GET / HT")
        protocol.connection_lost(None)

    with ThreadPoolExecutor(1) as thread:  # another test may leave an event loop in this one
        thread.submit(asyncio.run, connect()).result()
