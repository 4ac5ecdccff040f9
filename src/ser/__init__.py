"""Speech emotion recognition: from corpus files to a trained and evaluated model."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser.predict import Predictor

__all__ = ["Predictor"]


def __getattr__(name: str) -> Any:
    """`Predictor` at its first use (PEP 562), so that `import ser` itself costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ser.predict import Predictor

    return Predictor
