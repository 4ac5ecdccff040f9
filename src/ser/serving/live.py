"""Predictions while someone speaks, over a WebSocket at /live.

The client sends a JSON message with `sample_rate` (and `token`, `window`, `hop`), then binary
messages of 16-bit little-endian mono samples, and {"type": "end"} at the end. The service answers
{"type": "ready"}, a {"type": "result"} for each window, {"type": "end"}, and {"error": ...} before
it closes a session with an error.
"""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import numpy as np
from fastapi import FastAPI, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from ser.audio.recording import MIN_SECONDS, SAMPLE_RATE
from ser.errors import UserError
from ser.inference.live_windows import LiveWindows
from ser.inference.prediction import best
from ser.inference.settings import WindowConfig
from ser.inference.windows import Window, not_silent
from ser.serving.access import Access
from ser.serving.logs import LOG
from ser.serving.middleware import refuse
from ser.serving.service import Service
from ser.serving.upload import describe

START_SECONDS = 10.0  # for the first message
IDLE_SECONDS = 30.0  # between messages
AHEAD_SECONDS = 5.0  # of audio that a client may send faster than real time
MOST_STARTING = 64  # sessions whose first message has not arrived
MESSAGE_RATE = 500  # messages per second; each costs time, however short it is
# Close codes of RFC 6455 and its registry.
NORMAL, UNSUPPORTED, POLICY, FAILED, TRY_LATER = 1000, 1003, 1008, 1011, 1013
UNAUTHORIZED = 4401  # the token is missing or wrong


class LiveOptions(BaseModel):
    """The first message of a client."""

    model_config = ConfigDict(extra="forbid")

    token: str = ""
    sample_rate: int = Field(ge=8_000, le=192_000)
    window: float = Field(default=3.0, ge=MIN_SECONDS, le=60, allow_inf_nan=False)
    hop: float | None = Field(default=None, ge=0.1, le=60, allow_inf_nan=False)

    @property
    def windows(self) -> WindowConfig:
        """The windows; raises UserError for a hop above the window."""
        return WindowConfig.live(self.window, self.hop)


class SessionError(Exception):
    """A session that ends with an error message and this close code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def add_live_route(app: FastAPI, service: Service, access: Access) -> None:
    starting: dict[LiveSession, None] = {}  # before their first message, the oldest first
    sessions: set[LiveSession] = set()
    service.telemetry.live.set_function(lambda: len(sessions))

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        headers = socket.headers
        if not access.accepts_origin(headers.get("origin"), headers.get("host", "")):
            message = (
                "pages of this origin may not use the service; its owner can add --cors-origin"
            )
            await socket.send_denial_response(refuse(403, message))
            return
        await socket.accept()
        session = LiveSession(socket, service)
        try:
            if len(starting) >= MOST_STARTING:
                oldest = next(iter(starting))
                del starting[oldest]
                message = "too many live sessions are being opened; send the first message at once"
                await end(oldest.socket, SessionError(TRY_LATER, message))
            starting[session] = None
            try:
                await session.start(access)
            finally:
                starting.pop(session, None)
            if len(sessions) >= service.limits.sessions:
                raise SessionError(TRY_LATER, f"{len(sessions)} live sessions are open; try later")
            sessions.add(session)
            await session.run()
            await socket.close(NORMAL)
        except SessionError as error:
            await end(socket, error)
        except WebSocketDisconnect:
            pass
        except Exception:
            LOG.exception("a live session failed")
            await end(socket, SessionError(FAILED, "the service failed; its log holds the reason"))
        finally:
            sessions.discard(session)
            service.telemetry.audio.inc(session.seconds)
            socket.state.facts = {"audio_seconds": round(session.seconds, 3)}


async def end(socket: WebSocket, error: SessionError) -> None:
    """Tell the client what was wrong, if it is still there, and close."""
    with suppress(WebSocketDisconnect, RuntimeError):
        if socket.application_state == WebSocketState.CONNECTED:
            await socket.send_json({"error": error.message})
            await socket.close(error.code)


class LiveSession:
    """The audio of one client as it arrives, and the predictions that go back.

    One window is evaluated at a time. If the network is slower than the hop, the newest window is
    evaluated next, and those before it are skipped and counted.
    """

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self.socket, self.service = socket, service
        self.options = LiveOptions(sample_rate=SAMPLE_RATE)
        self.samples = 0  # received, at the rate of the client
        self._newest: tuple[Window, float] | None = None
        self._skipped = 0
        self._ended = False
        self._changed = asyncio.Event()

    @property
    def seconds(self) -> float:
        return self.samples / self.options.sample_rate

    async def start(self, access: Access) -> None:
        """Read the first message and answer it; raises SessionError for a bad one."""
        message = await self._receive(START_SECONDS, "the first message")
        given = parse(message)
        if not isinstance(given, dict):
            raise SessionError(POLICY, "the first message is not a JSON object")
        try:
            self.options = LiveOptions.model_validate(given)
            config = self.options.windows
        except ValidationError as error:
            raise SessionError(POLICY, describe(error.errors(), skip=0)) from error
        except UserError as error:
            raise SessionError(POLICY, str(error)) from error
        authorization = self.socket.headers.get("authorization", "")
        if not access.accepts_token(self.options.token) and not access.accepts_header(
            authorization
        ):
            raise SessionError(UNAUTHORIZED, "the token is missing or wrong; send it as 'token'")
        if problem := self.service.explain_window(config):
            raise SessionError(POLICY, problem)
        self.windows = LiveWindows(self.options.sample_rate, config)

    async def run(self) -> None:
        """Answer until the client ends the session; raises SessionError and WebSocketDisconnect."""
        await self.socket.send_json(
            {
                "type": "ready",
                "labels": list(self.service.predictor.labels),
                "window": self.options.window,
                "hop": self.options.windows.hop,
                "max_seconds": self.service.limits.audio_seconds,
            }
        )
        tasks = [asyncio.create_task(work) for work in (self._read(), self._answer())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # retrieved, or asyncio logs it
        await self.socket.send_json({"type": "end", "seconds": round(self.seconds, 3)})

    async def _receive(self, seconds: float, what: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                message = await self.socket.receive()
        except TimeoutError:
            raise SessionError(POLICY, f"{what} did not arrive within {seconds:g} s") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return dict(message)

    async def _read(self) -> None:
        started, messages = time.monotonic(), 0
        while True:
            message = await self._receive(IDLE_SECONDS, "audio")
            messages += 1
            if messages > MESSAGE_RATE * (time.monotonic() - started + AHEAD_SECONDS):
                raise SessionError(POLICY, f"send at most {MESSAGE_RATE} messages per second")
            if message.get("bytes") is None:
                if parse(message) != {"type": "end"}:
                    raise SessionError(UNSUPPORTED, 'send binary samples or {"type": "end"}')
                break
            self._add(message["bytes"])
            # Not reading slows the client down through the window of its TCP connection.
            ahead = self.seconds - (time.monotonic() - started) - AHEAD_SECONDS
            await asyncio.sleep(max(0.0, ahead))
        for window in self.windows.finish():
            self._offer(window)
        self._ended = True
        self._changed.set()

    def _add(self, content: bytes) -> None:
        if len(content) % 2:
            raise SessionError(UNSUPPORTED, "a message holds half a sample; samples are 16 bit")
        samples = np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)
        self.samples += len(samples)
        if self.seconds > self.service.limits.audio_seconds:
            most = self.service.limits.audio_seconds
            raise SessionError(POLICY, f"a session lasts at most {most:g} s; open another one")
        for window in self.windows.push(samples):
            self._offer(window)

    def _offer(self, window: Window) -> None:
        self._skipped += self._newest is not None
        self._newest = (window, time.monotonic())
        self._changed.set()

    async def _answer(self) -> None:
        while self._newest is not None or not self._ended:
            await self._changed.wait()
            self._changed.clear()
            if self._newest is None:
                continue
            (window, arrived), self._newest = self._newest, None
            skipped, self._skipped = self._skipped, 0
            result = await self._evaluate(window)
            latency = round(time.monotonic() - arrived, 4)
            result |= {"latency": latency, "skipped": skipped}
            await self.socket.send_json(result)

    async def _evaluate(self, window: Window) -> dict[str, Any]:
        result = {"type": "result", "start": round(window.start, 3), "end": round(window.end, 3)}
        if not not_silent(window.waveform):
            return result | {"emotion": None, "probabilities": None}
        [row] = await self.service.probabilities([window.waveform])
        labels = self.service.predictor.labels
        probabilities = dict(zip(labels, (round(float(p), 6) for p in row), strict=True))
        result |= {"emotion": best(probabilities), "probabilities": probabilities}
        if self.service.predictor.abstains(float(row.max())):
            result |= {"emotion": None, "abstained": True}
        return result


def parse(message: dict[str, Any]) -> Any:
    """The JSON of a text message; raises SessionError for anything else."""
    try:
        return json.loads(message.get("text") or "")
    except (ValueError, RecursionError) as error:
        raise SessionError(UNSUPPORTED, "send a JSON message as text") from error
