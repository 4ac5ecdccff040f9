"""What a report says about adaptation to the evaluated speakers."""

from dataclasses import asdict
from typing import Any

from ser.evaluation.adaptation import Adaptation
from ser.metrics.summary import GroupMetrics
from ser.reports.tables import Table, count, fraction, show_interval


def tabulate(found: Adaptation, plain: GroupMetrics) -> Table:
    """The UAR without adaptation, and by the number of clips per group."""
    rows = [["0", fraction(found.plain), show_interval(plain.intervals.get("uar")), "–"]]
    for point in found.curve:
        interval = "–"
        if point.clips is None:
            interval = show_interval(found.overall.intervals.get("uar"))
        name = "all" if point.clips is None else count(point.clips)
        drawn = "–" if point.clips is None else f"{point.low:.3f} to {point.high:.3f}"
        rows.append([name, fraction(point.uar), interval, drawn])
    columns = [
        f"clips per {found.by}",
        "UAR",
        "95% interval",
        f"lowest to highest of {found.draws} draws",
    ]
    return Table(columns, rows, strong=("0", "all"))


def summarize(found: Adaptation) -> str:
    """The UAR with and without adaptation, in a sentence."""
    low, median, high = found.clips
    clips = count(low) if low == high else f"{low:,} to {high:,} (median {median:,})"
    plural = "corpora" if found.by == "corpus" else "speakers"
    groups = f"{found.groups:,} {found.by if found.groups == 1 else plural}"
    return (
        f"Adapted to all clips of each {found.by}, without their labels ({groups}, {clips} clips"
        f" each), the UAR is {fraction(found.overall.scores.uar)} instead of"
        f" {fraction(found.plain)}."
    )


def describe(found: Adaptation) -> str:
    """How the adapted scores were computed, and the two UARs."""
    unknown = ""
    if found.unknown:
        unknown = f" {found.unknown:,} utterances of an unknown {found.by} are not adapted."
    return (
        f"{summarize(found)} Rows with fewer clips use clips drawn at random. Scores are"
        f" over all utterances, including those adapted to. Do not compare them with a test on"
        f" single clips: adaptation needs several clips of each {found.by}.{unknown}"
    )


def to_plain(found: Adaptation | None) -> dict[str, Any] | None:
    """The content of metrics.json, except for the adapted scores of the classes."""
    if found is None:
        return None
    low, median, high = found.clips
    return {
        "by": found.by,
        "groups": found.groups,
        "unknown": found.unknown,
        "clips": {"min": low, "median": median, "max": high},
        "plain_uar": found.plain,
        "uar": found.overall.scores.uar,
        "accuracy": found.overall.scores.accuracy,
        "intervals": {name: asdict(each) for name, each in found.overall.intervals.items()},
        "draws": found.draws,
        "curve": [asdict(point) for point in found.curve],
    }
