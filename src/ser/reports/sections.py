"""The tables and sentences of each section of a report."""

from ser.evaluation.result import EvaluationResult
from ser.metrics.gaps import Gap
from ser.metrics.listeners import Listeners
from ser.metrics.significance import ALPHA
from ser.metrics.summary import GroupMetrics
from ser.reports.analysis import Analysis, SentenceScores
from ser.reports.tables import (
    SIGNED,
    Table,
    count,
    fraction,
    percent,
    show_interval,
    show_p,
    signed,
)

MOST_SPEAKERS = 200  # rows of the table in the page; metrics.json has them all
MOST_SUSPECTS = 25  # rows of the table in the page; label_errors.csv has them all
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)


def tabulate_emotions(overall: GroupMetrics) -> Table:
    rows = [
        [name, fraction(row.precision), fraction(row.recall), fraction(row.f1), count(row.support)]
        for name, row in overall.scores.classes.items()
        if row.support
    ]
    return Table(["emotion", "precision", "recall", "F1", "utterances"], rows)


def tabulate_groups(groups: dict[str, GroupMetrics], name: str) -> Table:
    """UAR with its interval, accuracy, macro F1 and baselines of each group."""
    columns = [name, "UAR", "95% interval", "accuracy", "macro F1", "chance", "majority"]
    rows = [
        [
            each,
            fraction(group.scores.uar),
            show_interval(group.intervals.get("uar")),
            fraction(group.scores.accuracy),
            fraction(group.scores.macro_f1),
            fraction(group.baselines.chance),
            fraction(group.baselines.majority),
            count(group.speakers),
            count(group.scores.utterances),
        ]
        for each, group in groups.items()
    ]
    return Table([*columns, "speakers", "utterances"], rows, strong=("all",))


def list_groups(result: EvaluationResult, analysis: Analysis) -> list[Table]:
    """The groups of each column, and several corpora together in the first table."""
    corpora = result.corpora
    if len(corpora) > 1:
        corpora = {**corpora, "all": result.overall}
    groups = {"corpus": corpora, "gender": result.genders, **analysis.groups}
    return [tabulate_groups(each, name) for name, each in groups.items() if each]


def tabulate_gaps(analysis: Analysis) -> Table | None:
    """The gaps between groups, None if there are none."""
    rows = [gap_row(column, gap) for column, gaps in analysis.gaps.items() for gap in gaps]
    columns = ["group", "UAR", "compared with", "UAR of these", "gap", "95% interval", "p"]
    return Table([*columns, "speakers"], rows, alignment="lrlrrrrr") if rows else None


def gap_row(column: str, gap: Gap) -> list[str]:
    star = "*" if gap.p is not None and gap.p < ALPHA else ""
    return [
        f"{column}: {gap.group}",
        fraction(gap.uar),
        gap.others,
        fraction(gap.other_uar),
        signed(gap.gap) + star,
        show_interval(gap.interval, SIGNED),
        show_p(gap.p),
        f"{gap.speakers[0]} and {gap.speakers[1]}",
    ]


def tabulate_speakers(result: EvaluationResult) -> Table:
    worst_first = sorted(result.speakers.items(), key=lambda item: item[1].uar)
    rows = [
        [name, row.gender or "–", fraction(row.uar), fraction(row.accuracy), count(row.utterances)]
        for name, row in worst_first[:MOST_SPEAKERS]
    ]
    total = len(worst_first)
    note = f"the {MOST_SPEAKERS} lowest of {total:,}" if total > MOST_SPEAKERS else ""
    columns = ["speaker", "gender", "UAR", "accuracy", "utterances"]
    return Table(columns, rows, note, alignment="llrrr")


def describe_worst(analysis: Analysis) -> str:
    """A sentence on the tenth of the speakers with the lowest UAR, or an empty string."""
    if analysis.worst is None:
        return ""
    names = analysis.worst.names
    who = f" ({', '.join(names)})" if len(names) <= 5 else ""
    return (
        f"The tenth of the speakers with the lowest UAR{who} has a mean UAR of"
        f" {fraction(analysis.worst.uar)}. Chance alone spreads the scores of speakers with few"
        " utterances."
    )


def tabulate_probabilities(result: EvaluationResult) -> Table:
    overall, kinds = result.overall, {"as trained": result.overall.probabilities}
    if overall.calibrated is not None and result.predicted.temperature != 1:
        kinds["calibrated"] = overall.calibrated
    rows = [
        [
            name,
            fraction(each.calibration_error),
            f"{each.log_loss:.3f}",
            fraction(each.roc_auc),
            fraction(each.top2_accuracy),
        ]
        for name, each in kinds.items()
    ]
    columns = ["probabilities", "calibration error", "log loss", "ROC AUC", "top-2 accuracy"]
    return Table(columns, rows)


def describe_calibration(result: EvaluationResult) -> str:
    """How the temperature was chosen, and whether it helps here."""
    temperature, fit = result.predicted.temperature, result.predicted.fit
    if temperature is None:
        return "The checkpoint has no temperature: probabilities are those of the network."
    if temperature == 1:
        reason = "" if fit is None else describe_fit(result)
        return f"The temperature is 1, so probabilities are those of the network.{reason}"
    kind = "overconfident" if temperature > 1 else "underconfident"
    return (
        f"A temperature of {temperature:.2f} was fitted on the validation part, where the network"
        f" was {kind}. Logits are divided by it, which changes no decision.{describe_fit(result)}"
        f"{describe_harm(result.overall)}"
    )


def describe_fit(result: EvaluationResult) -> str:
    fit = result.predicted.fit
    if fit is None:
        return ""
    if fit.errors == 0:
        return " The validation part has no errors, so a temperature cannot be fitted."
    folds = f"{fit.folds} {'speakers' if fit.by == 'speaker' else 'folds of utterances'}"
    change = "lowers" if fit.kept else "does not lower"
    return (
        f" In cross-validation over {folds}, a fitted temperature {change} the log loss of held-out"
        f" utterances ({fit.log_loss:.3f} without, {fit.held_out_log_loss:.3f} with it)."
    )


def describe_harm(overall: GroupMetrics) -> str:
    """A sentence if calibration is worse with the temperature on this part, or nothing."""
    before, after = overall.probabilities, overall.calibrated
    if after is None or after.calibration_error <= before.calibration_error:
        return ""
    return (
        f" It does not help on this part: the calibration error is {after.calibration_error:.3f}"
        f" with it and {before.calibration_error:.3f} without it (--raw predicts without it)."
    )


def tabulate_selective(analysis: Analysis) -> Table:
    rows = [
        [percent(each), fraction(1 - analysis.selective.risk_at(each)),
         fraction(analysis.selective.risk_at(each))]
        for each in COVERAGES
    ]  # fmt: skip
    return Table(["most confident predictions", "accuracy", "errors"], rows)


def describe_selective(analysis: Analysis) -> str:
    return (
        "The share of errors among the most confident predictions, if the model abstains on the"
        f" others. Useful confidences make it fall to the left. The mean error rate over all"
        f" coverages (AURC) is {analysis.selective.area:.3f}."
    )


def describe_listeners(found: Listeners) -> list[str]:
    """The human ceiling in sentences."""
    words = [
        f"Listeners rated {found.utterances:,} utterances; on average {percent(found.agreement)} of"
        " their votes are for the label."
    ]
    if found.human_uar is not None:
        words.append(
            f"The majority of the listeners has a UAR of {fraction(found.human_uar)} against the"
            f" labels, the model {fraction(found.model_uar)} on the same utterances."
        )
    if found.agreed_uar is not None and found.disputed_uar is not None:
        disputed = found.utterances - found.agreed
        words.append(
            f"The model has a UAR of {fraction(found.agreed_uar)} on the {found.agreed:,}"
            " utterances with at least half of the votes for the label, and of"
            f" {fraction(found.disputed_uar)} on the other {disputed:,}."
        )
    words.append(
        "The mean total variation distance between the model's probabilities and the distribution"
        f" of votes is {fraction(found.vote_distance)} (0 is equal)."
    )
    return words


def describe_sentences(found: SentenceScores) -> str:
    """Whether the sentence gives the label away."""
    baseline = found.baseline
    start = (
        "Predicting the most frequent emotion of each sentence in the training part has a UAR of"
        f" {fraction(baseline.uar)} (chance {fraction(baseline.chance)})."
    )
    if not found.telling:
        return f"{start} Sentences say little or nothing about the emotion."
    each = ", ".join(f"{name} {fraction(found.corpora[name].uar)}" for name in found.telling)
    return (
        f"{start} Sentences give the label away to a model that recognises words ({each}): trust"
        " the score on sentences that occur in all emotions."
    )


def can_doubt_labels(result: EvaluationResult) -> bool:
    """Whether the model is right so often that its disagreement says something about a label."""
    chance, measured = result.overall.baselines.chance, result.val_uar
    uar = result.overall.scores.uar if measured is None else measured
    return uar >= (1 + chance) / 2


def tabulate_suspects(result: EvaluationResult, analysis: Analysis) -> Table | None:
    """The most suspicious labels, None if there are none or the model is too poor to doubt them."""
    found = analysis.label_errors
    if found.empty or not can_doubt_labels(result):
        return None
    voted = "agreement" in found
    rows = []
    for row in found.head(MOST_SUSPECTS).to_dict("records"):
        cells = [str(row["id"]), str(row["emotion"]), str(row["predicted"])]
        cells += [fraction(row["p_label"]), fraction(row["p_predicted"])]
        if voted:
            known = row["agreement"] == row["agreement"]
            cells += [str(row["perceived"]) or "–", percent(row["agreement"]) if known else "–"]
        rows.append(cells)
    columns = ["utterance", "label", "prediction", "p of label", "p of prediction"]
    columns += ["listeners", "agreement"] if voted else []
    note = f"the first {MOST_SUSPECTS} of {len(found):,}" if len(found) > MOST_SUSPECTS else ""
    return Table(columns, rows, note, alignment="lllrr" + ("lr" if voted else ""))
