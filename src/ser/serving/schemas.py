"""What the service receives and answers, as its API documentation describes it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ser.audio.recording import MIN_SECONDS
from ser.inference.prediction import AdaptedTo, Segment, WindowPrediction
from ser.inference.settings import WindowConfig


class ErrorResponse(BaseModel):
    """What is wrong, and how to fix it."""

    error: str


class PredictionResponse(BaseModel):
    """The most probable emotion of a recording, probabilities, and the timeline over windows."""

    emotion: str | None = Field(description="null if the model abstained.")
    abstained: bool = Field(
        False, description="The highest probability is below the threshold of the model."
    )
    probabilities: dict[str, float]
    seconds: float
    windows: list[WindowPrediction] | None = None
    segments: list[Segment] | None = None
    adapted_to: AdaptedTo | None = None
    warnings: list[str] | None = Field(
        None, description="What is wrong with the recording, or how it was repaired."
    )


class ModelInfo(BaseModel):
    """The model that is served, and the limits of the service."""

    name: str
    labels: list[str]
    sample_rate: int
    temperature: float
    whole_seconds: float = Field(description="Longest recording that is predicted in one window.")
    device: str
    version: str
    max_megabytes: float
    max_seconds: float
    max_windows: int
    adapted_to: AdaptedTo | None = Field(
        None, description="Speaker that predictions are adapted to."
    )
    synthetic: bool = Field(description="The model was trained on synthetic tones, not on speech.")


class PredictOptions(BaseModel):
    """Options of a prediction, in the query or as form fields."""

    model_config = ConfigDict(extra="forbid")

    window: float | None = Field(
        None, ge=MIN_SECONDS, le=3600, allow_inf_nan=False,
        description="Length of sliding windows in seconds, at most `whole_seconds` of the model.",
    )  # fmt: skip
    hop: float | None = Field(
        None, ge=0.01, le=3600, allow_inf_nan=False,
        description="Seconds between the starts of windows; default: half a window.",
    )  # fmt: skip
    top_k: int | None = Field(None, ge=1, description="Number of most probable emotions to return.")

    @property
    def windows(self) -> WindowConfig | None:
        """The sliding windows; None for the whole recording. Raises UserError if impossible."""
        return WindowConfig.choose(self.window, self.hop)


STATUSES = {
    400: "The form cannot be read, or the host name is not served",
    401: "The token is missing or wrong",
    408: "The request body arrives too slowly",
    413: "The request is too large",
    415: "The media type is not supported",
    422: "The recording or an option cannot be used",
    503: "Too many requests are waiting",
    504: "The answer takes too long",
}
Responses = dict[int | str, dict[str, Any]]

REFUSALS: Responses = {
    status: {"model": ErrorResponse, "description": text} for status, text in STATUSES.items()
}
COMMON_REFUSALS: Responses = {status: REFUSALS[status] for status in (400, 401, 504)}
"""Refusals of routes without a request body."""
