"""Whether a probability of 0.8 means right eight times in ten, and what makes it so."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

COOLEST, HOTTEST = 0.05, 20.0  # a part without a mistake would ask for a temperature of nothing


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that logits (utterances, classes) are divided by to fit labels (utterances,).

    It has the least log loss and changes no decision: temperature scaling, Guo et al. (2017), "On
    calibration of modern neural networks". Fit it on the validation part. Raises ValueError where
    a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError("a temperature cannot be fitted to logits that are not finite")
    rows, logits = np.arange(len(labels)), logits.astype(np.float64)

    def log_loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    bounds = (np.log(COOLEST), np.log(HOTTEST))
    fitted = minimize_scalar(log_loss, bounds=bounds, method="bounded")
    return float(np.exp(fitted.x))
