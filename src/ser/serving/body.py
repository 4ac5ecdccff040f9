"""The body of a request while it arrives, and the connection after it."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from ser.serving.limits import BODY_GRACE_SECONDS, MIN_BODY_RATE, Limits

CLIENT_GONE = 499  # a status for the log and the counters only


class RequestBody:
    """Receives a body within the limits of size, time and rate, for an ASGI application.

    With its last byte the time for the answer begins: `deadline` is set, and it expires at once
    when the client disconnects. `receive` raises HTTPException 408 or 413, or CLIENT_GONE if the
    client disconnects before the end of the body.
    """

    def __init__(self, receive: Receive, limits: Limits, deadline: asyncio.Timeout) -> None:
        self._receive, self.limits, self.deadline = receive, limits, deadline
        self.started = asyncio.get_running_loop().time()
        self.received = 0
        self.complete = False
        self.disconnected = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        if self.complete:
            await self.disconnected.wait()
            return {"type": "http.disconnect"}
        try:
            async with asyncio.timeout_at(self._latest()):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "the request body arrives too slowly") from None
        self.received += len(message.get("body", b""))
        if self.received > self.limits.bytes:
            raise HTTPException(413, self.limits.too_large)
        if message["type"] == "http.disconnect":
            raise HTTPException(CLIENT_GONE, "the client has disconnected")
        if not message.get("more_body", False):
            self.complete = True
            self.begin_answer()
            self._watcher = asyncio.create_task(self._watch())
        return message

    def begin_answer(self) -> None:
        """Begin the time for the answer."""
        self.deadline.reschedule(asyncio.get_running_loop().time() + self.limits.timeout)

    def close(self) -> None:
        """Stop watching the connection."""
        if self._watcher is not None:
            self._watcher.cancel()

    def _latest(self) -> float:
        """The time at which the next part of the body must have arrived."""
        by_rate = BODY_GRACE_SECONDS + self.received / MIN_BODY_RATE
        return self.started + min(self.limits.upload_timeout, by_rate)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.disconnected.set()
        self.deadline.reschedule(asyncio.get_running_loop().time())
