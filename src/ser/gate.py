"""What stands before a web application: who may ask, how many at once, for how long; and the log.

A line of JSON tells of each request, without its content, its file names or its token; the same
goes into counters for Prometheus.
"""

import asyncio
import json
import logging
import secrets
import time
import uuid
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ser.setting import require

OPEN = frozenset({"/health", "/ready"})  # for those who watch over the service: no token needed
LOG = logging.getLogger("ser.requests")
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


@dataclass(frozen=True)
class Limits:
    """What a service takes: recordings of so much and so long, so many at once, and for how long.

    `timeout` is in seconds, and counts from the first byte of a request to the answer.
    """

    megabytes: float = 25.0
    audio_seconds: float = 600.0
    waiting: int = 64
    timeout: float = 60.0

    def __post_init__(self) -> None:
        require(self.megabytes > 0, "--max-megabytes", self.megabytes, "above 0")
        require(self.audio_seconds > 0, "--max-seconds", self.audio_seconds, "above 0")
        require(self.waiting > 0, "--max-waiting", self.waiting, "above 0")
        require(self.timeout > 0, "--timeout", self.timeout, "above 0")

    @property
    def bytes(self) -> int:
        return round(self.megabytes * 1e6)

    @property
    def too_long(self) -> str:
        return f"it is longer than {self.audio_seconds:g} s; cut it"

    @property
    def too_large(self) -> str:
        return f"the request is larger than {self.megabytes:g} MB; send a shorter recording"


class Telemetry:
    """The counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ser_requests", "Requests answered", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "ser_request_seconds", "Time to an answer", ["route"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "ser_requests_waiting", "Recordings not yet answered", registry=self.registry
        )
        self.batches = Histogram(
            "ser_batch_windows", "Windows judged together",
            buckets=[1, 2, 4, 8, 16, 32, 64], registry=self.registry,
        )  # fmt: skip
        self.audio = Counter("ser_audio_seconds", "Audio judged", registry=self.registry)


def refuse(status: int, sentence: str, **headers: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status, headers)


class Gate:
    """ASGI middleware that keeps the limits and the log; recordings come by POST.

    Answers itself with 401 without the token, 413 for what is announced as too large, 503 when too
    many wait, and 504 when the time is over.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, telemetry: Telemetry, token: str | None
    ) -> None:
        self.app, self.limits, self.telemetry, self.token = app, limits, telemetry, token
        self.waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            refusal = self.check(scope)
            if refusal is not None:
                await refusal(scope, receive, watch)
            elif scope["method"] == "POST":
                await self.admit(scope, receive, watch)
            else:
                await self.app(scope, receive, watch)
        finally:
            self.report(scope, status, time.monotonic() - started)

    def check(self, scope: Scope) -> JSONResponse | None:
        """The refusal of a request that its head gives reason for."""
        headers = Headers(scope=scope)
        if self.token is not None and scope["path"] not in OPEN:
            given = headers.get("authorization", "")
            expected = f"Bearer {self.token}"
            if not secrets.compare_digest(given.encode(), expected.encode()):
                sentence = "the token is missing or wrong; send it as 'Authorization: Bearer TOKEN'"
                return refuse(401, sentence, **{"WWW-Authenticate": "Bearer"})
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self.limits.bytes:
            return refuse(413, self.limits.too_large)
        if scope["method"] == "POST" and self.waiting >= self.limits.waiting:
            sentence = f"{self.waiting} recordings are waiting already; try again in a second"
            return refuse(503, sentence, **{"Retry-After": "1"})
        return None

    async def admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a recording among those that wait, and give it its time, the upload included."""
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        self.waiting += 1
        self.telemetry.waiting.set(self.waiting)
        try:
            async with asyncio.timeout(self.limits.timeout):
                await self.app(scope, receive, note)
        except TimeoutError:
            if begun:
                raise
            sentence = f"it took longer than {self.limits.timeout:g} s; send a shorter recording"
            await refuse(504, sentence)(scope, receive, send)
        finally:
            self.waiting -= 1
            self.telemetry.waiting.set(self.waiting)

    def report(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")  # what was typed may hold anything
        self.telemetry.requests.labels(route, status).inc()
        self.telemetry.seconds.labels(route).observe(seconds)
        facts = {
            "request": uuid.uuid4().hex[:12],
            "method": scope["method"],
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
        }
        LOG.info("answered", extra={"facts": facts | scope.get("state", {}).get("facts", {})})


class JsonFormatter(logging.Formatter):
    """A line of JSON for each record."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def log_as_json() -> None:
    """Send the log of the service, and of the server below it, to standard error as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name in ("ser", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
