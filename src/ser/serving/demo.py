"""The demo: a page to record speech or drop a file, and see the prediction, live too.

The page talks to the service behind it and to no other server.
"""

from collections.abc import Sequence
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from ser.inference.predictor import Predictor
from ser.inference.sources import SUFFIXES
from ser.serving.access import Access
from ser.serving.app import create_app
from ser.serving.examples import Example
from ser.serving.limits import Limits
from ser.serving.pages import NOTICE, SECURITY_HEADERS, render
from ser.serving.picture import draw_log_mel
from ser.serving.service import Service, unusable
from ser.serving.upload import receive_upload

WINDOW, HOP = 3.0, 1.0  # seconds; longer recordings than two windows get a timeline


def create_demo(
    predictor: Predictor,
    limits: Limits | None = None,
    access: Access | None = None,
    examples: Sequence[Example] = (),
    root_path: str = "",
) -> FastAPI:
    """The service of `ser.serving.app.create_app` with the demo page at /."""
    access = access or Access()

    async def show() -> Response:
        return HTMLResponse(page, headers=SECURITY_HEADERS)

    app = create_app(predictor, limits, access, start=show, root_path=root_path)
    service: Service = app.state.service
    page = write_page(service, examples, protected=access.token is not None)
    add_example_route(app, examples)
    add_picture_route(app, service)
    app.mount("/web", StaticFiles(directory=str(resources.files("ser.serving") / "web")))
    return app


def add_example_route(app: FastAPI, examples: Sequence[Example]) -> None:
    @app.get("/examples/{number}", include_in_schema=False)
    def example(number: int) -> Response:
        if not 0 <= number < len(examples):
            raise HTTPException(404, "there is no such example")
        try:
            content = examples[number].read()
        except OSError as error:
            raise HTTPException(404, "the recording of this example has gone") from error
        return Response(content, media_type="application/octet-stream", headers=SECURITY_HEADERS)


def add_picture_route(app: FastAPI, service: Service) -> None:
    @app.post("/log-mel", include_in_schema=False)
    async def draw(request: Request) -> Response:
        """Loudness by mel band (upwards, to 8 kHz) over time, as a PNG without axes."""
        async with receive_upload(request) as upload:
            try:
                content = await service.decoders.decode(upload.file, draw_log_mel)
            except ValueError as error:
                raise unusable(error) from error
        return Response(content, media_type="image/png")


def write_page(service: Service, examples: Sequence[Example], *, protected: bool) -> str:
    """The page; a protected one does not name the model, because it is shown without a token."""
    info = service.model_info
    window = min(WINDOW, info.whole_seconds)
    settings: dict[str, Any] = {
        "labels": info.labels,
        "maxBytes": service.limits.bytes,
        "window": window,
        "hop": window * HOP / WINDOW,
        "suffixes": sorted(SUFFIXES),
        "protected": protected,
    }
    names = [example.name for example in examples]
    return render(
        "demo.html", info=info, settings=settings, examples=names, protected=protected,
        notice=NOTICE,
    )  # fmt: skip
