"""The tables and sentences of a data card."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from ser.config.data import Ambiguous, DataConfig, LabelSource
from ser.config.split import Part, SplitConfig
from ser.metrics.intervals import LEAST_SPEAKERS
from ser.metrics.sentences import KINDS
from ser.preparation.leaks import find_leaks, measure_sentences
from ser.preparation.manifest import Manifest, Reason
from ser.preparation.splits import PARTS
from ser.reports.tables import Table, count, fraction, percent

TOUCHED = 0.001  # share of samples at full scale from which a recording counts as clipped
MOST_NAMED = 8  # speakers named in a sentence; manifest.csv has them all
SYNTHETIC = "Synthetic tones, not speech."


@dataclass(frozen=True)
class DataCard:
    """A split manifest and the settings that it was made with."""

    manifest: Manifest
    data: DataConfig
    split: SplitConfig

    @property
    def utterances(self) -> pd.DataFrame:
        return self.manifest.utterances

    @property
    def corpora(self) -> list[str]:
        """The corpora in the order of the settings."""
        found = self.utterances["corpus"].unique().tolist()
        return sorted(found, key=lambda name: (self.data.corpora + found).index(name))


def show_duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def count_speakers(table: pd.DataFrame) -> int:
    return table.loc[table["speaker"] != "", "speaker"].nunique()


def find_notices(card: DataCard) -> list[str]:
    """What a reader must know before the numbers."""
    notices = list_missing(card.manifest) if card.data.synthetic is None else [SYNTHETIC]
    present = set(card.utterances["emotion"])
    if absent := [name for name in card.data.label_space if name not in present]:
        kept = ",".join(name for name in card.data.label_space if name in present)
        notices.append(
            f"No utterance of {', '.join(absent)}, so the model cannot learn"
            f" {'this class' if len(absent) == 1 else 'these classes'}. Leave"
            f" {'it' if len(absent) == 1 else 'them'} out with data.labels=[{kept}]."
        )
    return notices


def list_missing(manifest: Manifest) -> list[str]:
    """A sentence for each corpus that has fewer files than a complete copy."""
    dropped = manifest.dropped[manifest.dropped["reason"] != Reason.MIRROR]
    named = pd.concat([manifest.utterances["corpus"], dropped.loc[dropped["id"] != "", "corpus"]])
    found = named.value_counts()
    return [
        f"{row['title']} is incomplete: {found.get(row['corpus'], 0):,} of {row['files']:,} files."
        for row in manifest.corpora.to_dict("records")
        if found.get(row["corpus"], 0) < row["files"]
    ]


def by_corpus(
    card: DataCard,
    columns: Sequence[str],
    cells: Callable[[pd.DataFrame], list[str]],
    alignment: str = "",
) -> Table:
    """A row of `cells` for each corpus, and one for all of them."""
    groups = [(name, card.utterances[card.utterances["corpus"] == name]) for name in card.corpora]
    if len(groups) > 1:
        groups.append(("all", card.utterances))
    rows = [[name, *cells(each)] for name, each in groups]
    return Table(["corpus", *columns], rows, alignment=alignment, strong=("all",))


def tabulate_corpora(card: DataCard) -> Table:
    def cells(rows: pd.DataFrame) -> list[str]:
        genders = rows[rows["speaker"] != ""].groupby("gender")["speaker"].nunique()
        known = [f"{number} {name}" for name, number in genders.items() if name]
        counts = [count(len(rows)), f"{rows['seconds'].sum() / 3600:.2f}"]
        return [*counts, count(count_speakers(rows)), ", ".join(known) or "unknown"]

    return by_corpus(card, ["utterances", "hours", "speakers", "gender"], cells, "lrrrl")


def tabulate_parts(card: DataCard) -> Table:
    def cells(rows: pd.DataFrame) -> list[str]:
        parts = [rows[rows["split"] == part] for part in PARTS]
        return [f"{len(part):,} ({count_speakers(part):,})" for part in parts]

    return by_corpus(card, [f"{part} (speakers)" for part in PARTS], cells)


def tabulate_emotions(card: DataCard) -> Table:
    def cells(rows: pd.DataFrame) -> list[str]:
        counts = rows["emotion"].value_counts()
        return [count(int(counts.get(name, 0))) for name in card.data.label_space]

    return by_corpus(card, card.data.label_space, cells)


def tabulate_recordings(card: DataCard) -> Table:
    def cells(rows: pd.DataFrame) -> list[str]:
        seconds, rates = rows["seconds"], sorted(rows["sample_rate"].unique())
        formats = sorted(rows["format"].unique())
        lengths = [f"{seconds.min():.2f}", f"{seconds.median():.2f}", f"{seconds.max():.2f}"]
        return [*lengths, ", ".join(f"{rate:,}" for rate in rates), ", ".join(formats)]

    columns = ["shortest, s", "median, s", "longest, s", "sample rates, Hz", "format"]
    return by_corpus(card, columns, cells, "lrrrll")


def tabulate_dropped(card: DataCard) -> Table:
    """Files left out, by reason and corpus."""
    counts = pd.crosstab(card.manifest.dropped["reason"], card.manifest.dropped["corpus"])
    order = card.manifest.corpora["corpus"].tolist()
    names = sorted(
        map(str, counts.columns),
        key=lambda name: order.index(name) if name in order else len(order),
    )
    rows = [
        [str(reason), *(f"{row[name]:,}" for name in names), f"{row.sum():,}"]
        for reason, row in counts.iterrows()
    ]
    return Table(["reason", *names, "all"], rows)


def count_reasons(card: DataCard) -> str:
    """The number of files left out for each reason, in a line."""
    reasons = card.manifest.dropped["reason"].value_counts().sort_index()
    return ", ".join(f"{name} {number:,}" for name, number in reasons.items())


def list_repairs(card: DataCard) -> list[str]:
    """What is repaired in files that are used: a number and a phrase for each kind."""
    table = card.utterances
    wav = table["path"].str.lower().str.endswith(".wav")
    kinds = (
        ((table["channels"] > 1).sum(), "with several channels mixed to one"),
        (
            table["note"].str.contains("opposite phase").sum(),
            "with channels in opposite phase, of which one is used",
        ),
        ((table["sample_rate"] != 16_000).sum(), "resampled to 16,000 Hz"),
        ((wav & ~table["format"].str.startswith("WAV")).sum(), "named .wav, but of another format"),
        ((table["clipped"] > TOUCHED).sum(), "clipped in places, and kept"),
        (
            (table["seconds"] > card.data.max_seconds).sum(),
            f"longer than data.max_seconds={card.data.max_seconds:g}, trimmed in training",
        ),
    )
    repairs = [f"{number:,} {words}" for number, words in kinds if number]
    notes = table.loc[table["note"] != "", "note"].value_counts()
    return repairs + [f"{number:,} noted: {note}" for note, number in notes.items()]


def has_votes(card: DataCard) -> bool:
    """Whether listeners rated any utterance, also one that was left out for its votes."""
    left = (card.manifest.dropped["reason"] == Reason.AMBIGUOUS).any()
    return bool(left or card.utterances["agreement"].notna().any())


def describe_ambiguity(card: DataCard) -> str:
    """Whether listeners rated the utterances, and what follows."""
    table, rated = card.utterances, card.utterances["agreement"].dropna()
    left = (card.manifest.dropped["reason"] == Reason.AMBIGUOUS).sum()
    if not has_votes(card):
        return (
            "No listeners' votes are known (data.votes.cremad, or the columns perceived and"
            " agreement of data.table), so ambiguous utterances cannot be told from clear ones."
        )
    label = "perceived" if card.data.label_by == LabelSource.perceived else "intended"
    agreed = (rated >= card.data.min_agreement).mean()
    words = (
        f"Listeners rated {len(rated):,} of {len(table):,} utterances, and agree with the {label}"
        f" label of {percent(agreed)} of them."
    )
    if card.data.ambiguous == Ambiguous.drop or left:
        words += f" {left:,} ambiguous ones were left out."
    return words


def describe_overlap(card: DataCard) -> list[str]:
    """What the parts have in common, in sentences."""
    leaks, speakers = find_leaks(card.utterances), count_speakers(card.utterances)
    sentences = []
    if leaks.speakers:
        sentences.append(
            f"Speakers in more than one part: {len(leaks.speakers):,} of {speakers:,}"
            f" ({name_some(leaks.speakers)}). Scores will be higher than for new speakers;"
            " split=speaker keeps speakers apart."
        )
    elif speakers:
        sentences.append(f"Speakers in more than one part: 0 of {speakers:,}.")
        test = count_speakers(card.utterances[card.utterances["split"] == Part.test])
        if 0 < test < LEAST_SPEAKERS:
            sentences.append(
                f"Test speakers: {test}. Scores will have no interval, which needs"
                f" {LEAST_SPEAKERS}; a sweep over the folds of split=folds tests every speaker."
            )
    if leaks.recordings:
        sentences.append(
            f"Recordings in more than one part, encoded or trimmed differently:"
            f" {len(leaks.recordings):,}."
        )
    copies = len(card.utterances) - card.utterances["recording"].nunique()
    if copies and not leaks.recordings:
        sentences.append(f"Near-duplicates of other utterances in the same part: {copies:,}.")
    return sentences


def tabulate_sentences(card: DataCard) -> Table | None:
    """What the sentence alone says about the emotion, by corpus; None if no sentence is known."""
    found = measure_sentences(card.utterances)
    rows = [
        [name, fraction(each.uar), fraction(each.chance), *(count(each.count(k)) for k in KINDS)]
        for name, each in found.items()
    ]
    columns = ["corpus", "UAR of the sentence", "chance", *(f"in {kind}" for kind in KINDS[:-1])]
    return Table([*columns, KINDS[-1]], rows) if rows else None


def describe_sentences(card: DataCard) -> str:
    """Whether sentences of the test part give their label away, or an empty string."""
    found = measure_sentences(card.utterances)
    telling = [name for name, each in found.items() if each.gives_away]
    if not found or card.data.synthetic is not None:  # tones have no words
        return ""
    if not telling:
        return "Sentences do not give the label away."
    return (
        f"Sentences give the label away in {', '.join(telling)}: scores will be higher for models"
        " that recognise words. Trust those on sentences that occur in all emotions."
    )


def name_some(names: Sequence[str]) -> str:
    """The names, or the first few of many."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def tabulate_origins(card: DataCard) -> Table:
    rows = [
        [str(row.title), str(row.origin), str(row.licence) or "not stated"]
        for row in card.manifest.corpora.itertuples()
    ]
    return Table(["corpus", "source", "licence"], rows, alignment="lll")
