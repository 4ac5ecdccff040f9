"""A page to try a model on: record or drop a file, and see what it hears, over time too.

The page talks to the service behind it and to nobody else.
"""

import io
from functools import cache
from importlib import resources
from typing import Annotated, Any

import numpy as np
import soundfile
from anyio import to_thread
from fastapi import FastAPI, File, Response, UploadFile
from fastapi.responses import HTMLResponse
from matplotlib import image
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from ser.audio import SAMPLE_RATE
from ser.gate import Limits
from ser.labels import Emotion
from ser.mistakes import LOUDNESS_RANGE, log_mel
from ser.page import render
from ser.predict import Predictor
from ser.service import Service, create_app, read_within, unusable
from ser.sources import SUFFIXES
from ser.synthetic import SyntheticClip, speak
from ser.windows import Source

COLUMNS = 1200  # of the log-mel picture of a long recording
WINDOW, HOP = 3.0, 1.0  # seconds; what is longer than two windows is shown over time
# Scripts come from this server alone, so nothing in a recording's name can become one.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self';"
    " img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def create_demo(
    predictor: Predictor, limits: Limits | None = None, hosts: list[str] | None = None
) -> FastAPI:
    """The service of `ser.service.create_app`, and the page at /."""
    app = create_app(predictor, limits, hosts=hosts)
    service: Service = app.state.service
    page = write_page(service)
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}

    @app.get("/", include_in_schema=False)
    def show() -> Response:
        return HTMLResponse(page, headers=headers)

    @app.get("/examples/{emotion}.wav", include_in_schema=False)
    def example(emotion: str) -> Response:
        if emotion not in set(Emotion):
            raise HTTPException(404, f"there is no example of {emotion}")
        return Response(write_example(Emotion(emotion)), media_type="audio/wav")

    @app.post("/log-mel", response_class=Response, **service.takes_recordings)
    async def draw(file: Annotated[UploadFile, File()]) -> Response:
        """Loudness by mel band (up, to 8 kHz) over time, as a PNG without axes."""
        try:
            content = await to_thread.run_sync(draw_log_mel, file.file, service.limits)
        except ValueError as error:
            raise unusable(error) from error
        return Response(content, media_type="image/png")

    app.mount("/web", StaticFiles(directory=str(resources.files("ser") / "web")))
    return app


def write_page(service: Service) -> str:
    facts = service.facts
    window = min(WINDOW, facts.whole_seconds)
    settings: dict[str, Any] = {
        "labels": facts.labels,
        "maxBytes": service.limits.bytes,
        "maxSeconds": facts.max_seconds,
        "window": window,
        "hop": window * HOP / WINDOW,
        "suffixes": sorted(SUFFIXES),
    }
    examples = [emotion.value for emotion in Emotion if emotion in facts.labels]
    return render("demo.html", facts=facts, settings=settings, examples=examples or list(Emotion))


@cache
def write_example(emotion: Emotion) -> bytes:
    """A synthetic clip as a WAV file; nobody is speaking."""
    waveform = speak(
        SyntheticClip(f"demo/{emotion}", "demo", "female", emotion, "demo", SAMPLE_RATE)
    )
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLE_RATE, format="WAV")
    return buffer.getvalue()


def draw_log_mel(source: Source, limits: Limits) -> bytes:
    """A PNG of the loudness (bands upwards, time) of a recording; raises ValueError as needed."""
    loudness = log_mel(np.concatenate(list(read_within(source, limits))))
    columns = -(-loudness.shape[1] // COLUMNS)
    padded = np.pad(loudness, ((0, 0), (0, -loudness.shape[1] % columns)), mode="edge")
    pooled = padded.reshape(len(loudness), -1, columns).mean(axis=2)
    buffer = io.BytesIO()
    image.imsave(
        buffer, pooled, origin="lower", cmap="magma", vmin=-LOUDNESS_RANGE, vmax=0, format="png"
    )
    return buffer.getvalue()
