"""Intervals and tests that know that utterances of one speaker are alike.

The bootstrap draws speakers, not utterances (Field and Welsh, 2007, "Bootstrapping clustered
data"): an utterance-level one takes 600 sentences of one actor for 600 pieces of evidence, and is
too narrow. What each speaker contributes is summed once (`Tally`), so a draw of speakers is a
product of two matrices, whatever the number of utterances.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

CONFIDENCE = 0.95
DRAWS = 2000
METRICS = ("accuracy", "uar", "macro_f1", "weighted_f1", "top2_accuracy", "log_loss")


@dataclass(frozen=True)
class Interval:
    """Between which values a score lies, with 95 % confidence."""

    low: float
    high: float

    @property
    def has_width(self) -> bool:
        """Without, every draw scored the same: the bootstrap cannot tell what others would."""
        return self.low < self.high


@dataclass(frozen=True)
class Tally:
    """Sums over the utterances of each speaker.

    `confusion` (speakers, classes, classes) counts rows true and columns predicted; `hits` and
    `losses` (speakers,) sum top-2 hits and log losses. `complete` is false where somebody is not
    known: who is alike cannot be told then, and nothing is drawn.
    """

    confusion: np.ndarray
    hits: np.ndarray
    losses: np.ndarray
    complete: bool = True

    @property
    def speakers(self) -> int:
        return len(self.confusion)

    def columns(self) -> np.ndarray:
        """All sums side by side (speakers, classes * classes + 2)."""
        flat = self.confusion.reshape(self.speakers, -1)
        return np.column_stack([flat, self.hits, self.losses]).astype(np.float64)


PERCENT, SIGNED = "{:.1f} to {:.1f}%", "{:+.1f} to {:+.1f}%"


def show_interval(interval: Interval | None, form: str = PERCENT, scale: int = 100) -> str:
    """An interval in words, also where there is none to tell."""
    if interval is None:
        return "not known"
    if not interval.has_width:
        return "no spread"
    return form.format(scale * interval.low, scale * interval.high)


def tally(
    speakers: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    extras: tuple[np.ndarray, np.ndarray] | None = None,
) -> Tally:
    """The sums by speaker; all arrays are (utterances,), `extras` top-2 hits and log losses."""
    known, rows = np.unique(speakers, return_inverse=True)
    cells = (rows * classes + labels) * classes + predictions
    counts = np.bincount(cells, minlength=len(known) * classes**2)
    hits, losses = extras if extras is not None else (np.zeros(len(rows)),) * 2
    return Tally(
        counts.reshape(len(known), classes, classes),
        *(np.bincount(rows, weights=values) for values in (hits, losses)),
        complete="" not in known,
    )


def compute(sums: np.ndarray, classes: int) -> np.ndarray:
    """METRICS (metrics, draws) from sums (draws, classes * classes + 2).

    A class that a draw does not hold counts in no mean of that draw.
    """
    confusion = sums[:, :-2].reshape(-1, classes, classes)
    total = confusion.sum(axis=(1, 2))
    hits, support = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2)
    occurs = support > 0
    recall = np.divide(hits, support, out=np.zeros_like(hits, float), where=occurs)
    guessed = support + confusion.sum(axis=1)
    f1 = np.divide(2 * hits, guessed, out=np.zeros_like(recall), where=guessed > 0)
    present = occurs.sum(axis=1)
    return np.stack(
        [
            hits.sum(axis=1) / total,
            recall.sum(axis=1) / present,
            (f1 * occurs).sum(axis=1) / present,
            (f1 * support).sum(axis=1) / total,
            sums[:, -2] / total,
            sums[:, -1] / total,
        ]
    )


def bootstrap_ends(columns: np.ndarray, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Low and high ends of METRICS of these sums (speakers, columns), or of their differences.

    `columns` may be (systems, speakers, columns) of two systems on the same speakers: then the
    ends are those of the second minus the first, drawn together.
    """
    systems = columns if columns.ndim == 3 else columns[None]
    speakers = systems.shape[1]

    def statistic(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        rows = np.atleast_2d(drawn).astype(int)
        places = rows + np.arange(len(rows))[:, None] * speakers
        weights = np.bincount(places.ravel(), minlength=len(rows) * speakers)
        weights = weights.reshape(len(rows), speakers).astype(np.float64)
        values = [compute(weights @ sums, classes) for sums in systems]
        values = values[0] if len(values) == 1 else values[1] - values[0]
        return values if drawn.ndim > 1 else values[:, 0]

    result = bootstrap(
        (np.arange(speakers),),
        statistic,
        n_resamples=DRAWS,
        batch=max(1, 4_000_000 // speakers),  # so memory does not grow with the speakers
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    ends = result.confidence_interval
    return np.asarray(ends.low), np.asarray(ends.high)


def find_intervals(sums: Tally, seed: int = 0) -> dict[str, Interval]:
    """The interval of each of METRICS; empty for one speaker, or where some are not known."""
    if sums.speakers < 2 or not sums.complete:
        return {}
    return as_intervals(*bootstrap_ends(sums.columns(), sums.confusion.shape[1], seed))


def as_intervals(low: np.ndarray, high: np.ndarray) -> dict[str, Interval]:
    return {
        name: Interval(float(one), float(other))
        for name, one, other in zip(METRICS, low, high, strict=True)
    }


def find_differences(first: Tally, second: Tally, seed: int = 0) -> dict[str, Interval]:
    """The interval of second minus first for each of METRICS, on the same speakers in one order.

    Where it does not hold 0, the two differ beyond what other speakers would have changed.
    """
    if first.speakers < 2 or not first.complete:
        return {}
    columns = np.stack([first.columns(), second.columns()])
    return as_intervals(*bootstrap_ends(columns, first.confusion.shape[1], seed))


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> float:
    """The p-value of McNemar's exact test that two systems are right equally often.

    Both are (utterances,) of truth values on the same utterances. It takes utterances for
    independent of each other, so with few speakers it sees differences too easily.
    """
    from scipy.stats import binomtest

    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)
