"""A trained model as a web service: recordings in, probabilities out.

Windows of concurrent requests are judged together, whatever recording they come from. Nothing of a
recording is kept, and nothing of it is logged.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from importlib.metadata import version
from itertools import islice
from typing import Annotated, Any

import numpy as np
from anyio import to_thread
from fastapi import Depends, FastAPI, File, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ser.audio import MIN_SECONDS, SAMPLE_RATE, Waveform
from ser.batching import Batcher
from ser.gate import Gate, Limits, Telemetry, refuse
from ser.predict import Hearing, Predictor
from ser.prediction import Failure, Prediction, Segment, Window
from ser.windows import Piece, Sliding, Source, cut_blocks, not_silent, read_blocks
from ser.writers import as_plain

MOST_WINDOWS = 1000  # of a recording


class Problem(BaseModel):
    """One sentence: what is wrong, and what to do."""

    error: str


class Heard(BaseModel):
    """The emotion of a recording, the probability of each, and the timeline of one in windows."""

    emotion: str
    probabilities: dict[str, float]
    seconds: float
    windows: list[Window] | None = None
    segments: list[Segment] | None = None


class Facts(BaseModel):
    """The model that answers, and what it takes."""

    name: str
    labels: list[str]
    sample_rate: int
    temperature: float
    whole_seconds: float
    device: str
    version: str
    max_megabytes: float
    max_seconds: float
    max_windows: int
    synthetic: bool


PROBLEMS = {
    400: "The body is no form",
    401: "The token is missing or wrong",
    413: "The request is too large",
    422: "It cannot be judged",
    503: "Too many wait",
    504: "It took too long",
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": words} for status, words in PROBLEMS.items()
}
"""Of a route that takes a recording."""


class Service:
    """A predictor behind a batcher, within limits."""

    def __init__(self, predictor: Predictor, limits: Limits, batch_size: int) -> None:
        self.predictor, self.limits, self.batch_size = predictor, limits, batch_size
        self.telemetry = Telemetry()
        self.batcher = Batcher(predictor, batch_size, self.telemetry.batches.observe)

    @property
    def takes_recordings(self) -> dict[str, Any]:
        """What every route has that takes a recording."""
        return {"responses": REFUSALS, "max_body_size": self.limits.bytes}

    @property
    def facts(self) -> Facts:
        return Facts(
            name=self.predictor.name,
            labels=list(self.predictor.labels),
            sample_rate=SAMPLE_RATE,
            temperature=self.predictor.temperature,
            whole_seconds=self.predictor.max_seconds,
            device=str(self.predictor.device),
            version=version("ser"),
            max_megabytes=self.limits.megabytes,
            max_seconds=self.limits.audio_seconds,
            max_windows=MOST_WINDOWS,
            synthetic=self.predictor.synthetic,
        )

    async def judge(
        self, request: Request, file: UploadFile, sliding: Sliding | None
    ) -> Prediction:
        """The prediction of an uploaded recording; raises HTTPException 422 with the reason."""
        whole = self.predictor.max_seconds
        if sliding is not None and sliding.window > whole:
            raise unusable(f"window: the model hears {whole:g} s at once; take a shorter one")
        blocks = read_within(file.file, self.limits)
        coming: Future[Iterator[Piece]] = Future()
        coming.set_result(few_enough(cut_blocks(blocks, sliding or Sliding(whole, whole))))
        hearing = Hearing(None, coming)
        pieces = hearing.pieces(not_silent)
        while batch := await to_thread.run_sync(lambda: list(islice(pieces, self.batch_size))):
            if await request.is_disconnected():
                raise HTTPException(499, "whoever asked has gone")
            answers = [asyncio.wrap_future(self.batcher.submit(each.waveform)) for each in batch]
            for piece, row in zip(batch, await asyncio.gather(*answers), strict=True):
                hearing.judge(piece, self.predictor.labels, row)
        result = hearing.result()
        if isinstance(result, Failure):
            raise unusable(result.error)
        self.telemetry.audio.inc(result.seconds)
        request.state.facts = {"audio_seconds": round(result.seconds, 3)}
        return result

    @asynccontextmanager
    async def live(self, app: FastAPI) -> AsyncIterator[None]:
        """Judge one second of noise, so that the first request is as fast as the second."""
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
        await asyncio.wrap_future(self.batcher.submit(noise))
        yield
        await to_thread.run_sync(self.batcher.close)


def read_within(source: Source, limits: Limits) -> Iterator[Waveform]:
    """The stretches (time,) of a recording at 16 kHz; raises ValueError once it is too long."""
    samples = 0
    for block in read_blocks(source):
        samples += len(block)
        if samples > limits.audio_seconds * SAMPLE_RATE:
            raise ValueError(limits.too_long)
        yield block


def few_enough(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The windows of a recording; raises ValueError where there are too many."""
    for count, piece in enumerate(pieces, 1):
        if count > MOST_WINDOWS:
            raise ValueError(f"it has more than {MOST_WINDOWS} windows; take a longer hop")
        yield piece


def create_app(
    predictor: Predictor,
    limits: Limits | None = None,
    *,
    token: str | None = None,
    hosts: list[str] | None = None,
    batch_size: int = 16,
) -> FastAPI:
    """The web application around a predictor; `hosts` are the names it may be called by (any).

    With a `token`, all but /health and /ready want it as a bearer token.
    """
    limits = limits or Limits()
    service = Service(predictor, limits, batch_size)
    app = FastAPIOffline(
        title="Speech emotion recognition",
        version=version("ser"),
        description=f"What {predictor.name} hears in a recording.",
        redoc_url=None,
        lifespan=service.live,
    )
    add_routes(app, service, [Depends(HTTPBearer(auto_error=False))] if token else [])
    app.add_exception_handler(HTTPException, explain)
    app.add_exception_handler(RequestValidationError, explain_values)
    app.add_exception_handler(Exception, admit_fault)
    app.add_middleware(Gate, limits=limits, telemetry=service.telemetry, token=token)
    if hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    app.state.service = service
    return app


def add_routes(app: FastAPI, service: Service, secured: list[Any]) -> None:
    """The routes; `secured` tells the documentation which want a token, the gate sees to it."""
    guarded: dict[str, Any] = {"dependencies": secured}

    @app.post("/predict", response_model_exclude_none=True, **service.takes_recordings, **guarded)
    async def predict(
        request: Request,
        file: Annotated[UploadFile, File(description="A recording that libsndfile reads.")],
        sliding: Annotated[Sliding | None, Depends(read_sliding)],
        top_k: Annotated[int | None, Query(ge=1, description="Only the most probable.")] = None,
    ) -> Heard:
        """The emotion of a recording: WAV, FLAC, OGG, MP3, AIFF and others, at any rate.

        Without `window` it is judged whole, or in pieces if it is longer than `whole_seconds`.
        """
        prediction = await service.judge(request, file, sliding)
        return Heard(**as_plain(prediction, top_k))

    @app.get("/model", **guarded)
    def model() -> Facts:
        """What answers here, and what it takes."""
        return service.facts

    @app.get("/health")
    def health() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/ready", responses={503: REFUSALS[503]})
    def ready() -> dict[str, str]:
        """The network answers, so recordings may come."""
        if not service.batcher.alive:
            raise HTTPException(503, "the network is gone; restart the service")
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, **guarded)
    def metrics() -> Response:
        """Counters for Prometheus."""
        content = generate_latest(service.telemetry.registry)
        return Response(content, media_type=CONTENT_TYPE_LATEST)


def unusable(reason: object) -> HTTPException:
    return HTTPException(422, f"the recording cannot be judged: {reason}")


def read_sliding(
    window: Annotated[
        float | None,
        Query(ge=MIN_SECONDS, le=3600, allow_inf_nan=False, description="Seconds of a window."),
    ] = None,
    hop: Annotated[
        float | None,
        Query(ge=0.01, le=3600, allow_inf_nan=False, description="Seconds between; half of one."),
    ] = None,
) -> Sliding | None:
    """The sliding windows that a query asks for; raises HTTPException 422 for impossible ones."""
    if window is None:
        if hop is not None:
            raise HTTPException(422, "hop needs window")
        return None
    try:
        return Sliding(window, hop or window / 2)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


async def explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = error.detail
    if error.status_code == 413:
        sentence = request.app.state.service.limits.too_large
    return refuse(error.status_code, sentence, **(error.headers or {}))


async def explain_values(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()]
    return refuse(422, "; ".join(found))


async def admit_fault(request: Request, error: Exception) -> Response:
    return refuse(500, "the service failed; its log says why")
