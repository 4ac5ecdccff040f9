"""The web application: HTTP routes around a trained model.

Windows of concurrent requests are evaluated together. Recordings are neither stored nor logged.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from ser.errors import UserError
from ser.inference.predictor import Predictor
from ser.inference.writers import as_plain
from ser.serving.access import Access
from ser.serving.limits import Limits
from ser.serving.live import add_live_route
from ser.serving.middleware import PathPrefix, RequestLimits, RequestLog, refuse
from ser.serving.pages import NOTICE, SECURITY_HEADERS, render
from ser.serving.schemas import (
    COMMON_REFUSALS,
    REFUSALS,
    ModelInfo,
    PredictionResponse,
    PredictOptions,
)
from ser.serving.service import Service
from ser.serving.upload import body_schema, describe, receive_upload
from ser.version import __version__

TITLE = "Speech emotion recognition"


def create_app(
    predictor: Predictor,
    limits: Limits | None = None,
    access: Access | None = None,
    *,
    start: Callable[..., Awaitable[Response]] | None = None,
    batch_size: int = 16,
    root_path: str = "",
) -> FastAPI:
    """The web application around a predictor.

    `start` answers at / instead of the usual page. `root_path` is the path prefix under which a
    proxy serves the application, such as /ser.
    """
    limits, access = limits or Limits(), access or Access()
    service = Service(predictor, limits, batch_size)
    app = FastAPIOffline(
        title=TITLE,
        version=__version__,
        description=f"Predicts the emotion of speech recordings. {NOTICE}",
        redoc_url=None,
        lifespan=service.lifespan,
        redirect_slashes=False,  # its redirects name the host that a request claims
    )
    app.state.service, app.state.access = service, access
    secured = [Depends(HTTPBearer(auto_error=False))] if access.token else []
    app.add_api_route("/", start or show_start, include_in_schema=False)
    add_predict_route(app, service, secured)
    add_status_routes(app, service, secured)
    add_live_route(app, service, access)
    app.add_exception_handler(HTTPException, explain)
    app.add_exception_handler(RequestValidationError, explain_values)
    app.add_exception_handler(Exception, explain_failure)
    add_middleware(app, service, access, root_path.rstrip("/"))
    return app


def add_middleware(app: FastAPI, service: Service, access: Access, prefix: str) -> None:
    """The middleware; the one added last sees a request first."""
    app.add_middleware(RequestLimits, limits=service.limits, access=access)
    if access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=access.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )
    if prefix:
        app.add_middleware(PathPrefix, prefix=prefix)
    app.add_middleware(RequestLog, telemetry=service.telemetry, access=access)


def add_predict_route(app: FastAPI, service: Service, secured: Sequence[Any]) -> None:
    """`secured` tells the API documentation that a token is needed; RequestLimits checks it."""

    @app.post(
        "/predict",
        response_model_exclude_unset=True,
        responses=REFUSALS,
        dependencies=secured,
        openapi_extra=body_schema(),
    )
    async def predict(
        request: Request, query: Annotated[PredictOptions, Query()]
    ) -> PredictionResponse:
        """Predict the emotion of a recording: WAV, FLAC, OGG, MP3, AIFF and others, at any rate.

        Send it as the field `file` of a form, or as the request body with its media type. Options
        are query parameters or form fields. Without `window` the recording is predicted whole, or
        in windows of `whole_seconds` if it is longer than that.
        """
        async with receive_upload(request) as upload:
            options = upload.merge(query)
            try:
                windows = options.windows
            except UserError as error:
                raise HTTPException(422, str(error)) from error
            prediction = await service.predict(upload.file, windows)
        request.state.facts = {"audio_seconds": round(prediction.seconds, 3)}
        return PredictionResponse(**as_plain(prediction, options.top_k))


def add_status_routes(app: FastAPI, service: Service, secured: Sequence[Any]) -> None:
    @app.get("/model", dependencies=secured, responses=COMMON_REFUSALS)
    async def model() -> ModelInfo:
        """The model that is served, and the limits of the service."""
        return service.model_info

    @app.get("/health", responses=COMMON_REFUSALS)
    async def health() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "alive"}

    @app.get("/ready", responses=COMMON_REFUSALS | {503: REFUSALS[503]})
    async def ready() -> dict[str, str]:
        """Whether the network answers."""
        if not service.batcher.alive:
            raise HTTPException(503, "the network has stopped; restart the service")
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, dependencies=secured, responses=COMMON_REFUSALS)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        content = generate_latest(service.telemetry.registry)
        return Response(content, media_type=CONTENT_TYPE_LATEST)


async def show_start(request: Request) -> Response:
    """What this is: a page for browsers, JSON for programs."""
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(render("service.html", notice=NOTICE), headers=SECURITY_HEADERS)
    links = {name: name for name in ("predict", "live", "model", "docs", "health", "metrics")}
    return JSONResponse({"service": TITLE, "version": __version__, "notice": NOTICE, **links})


async def explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = error.detail
    if message in ("Not Found", "Method Not Allowed"):  # of Starlette, for routes that do not exist
        message = f"{request.method} {request.url.path} is not offered: /docs lists the requests"
    return refuse(error.status_code, message, **(error.headers or {}))


async def explain_values(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return refuse(422, describe(error.errors()))


async def explain_failure(request: Request, error: Exception) -> Response:
    return refuse(500, "the service failed; its log holds the reason")
