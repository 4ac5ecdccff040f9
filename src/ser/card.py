"""The data card: what a run would be trained on, what was left out and why, on whose terms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from ser.atomic import write_text
from ser.data_config import Ambiguous, DataConfig, LabelSource, SplitConfig
from ser.figures import draw_distribution, draw_durations, mark
from ser.leaks import find_leaks
from ser.manifest import Manifest, Reason
from ser.page import Grid, picture, render
from ser.splits import PARTS

TOUCHED = 0.001  # share of samples at the limit from which a recording counts as clipped a little
MOST_NAMED = 8  # speakers in a sentence; manifest.csv has them all
SYNTHETIC = "Synthetic data: generated tones, nobody is speaking."


@dataclass(frozen=True)
class Card:
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


def write(card: Card, folder: Path) -> None:
    """Write the manifest, data_card.md and data_card.html into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    card.manifest.write(folder)
    for name, text in (("md", render_markdown(card)), ("html", render_page(card))):
        write_text(folder / f"data_card.{name}", text)


def render_page(card: Card) -> str:
    """The card as one HTML page, with pictures."""
    shown, corpora, labels = card.utterances, card.corpora, card.data.label_space
    by_part = draw_distribution(shown, "split", PARTS, labels)
    by_corpus = draw_distribution(shown, "corpus", corpora, labels)
    durations = draw_durations(shown, corpora)
    for figure in (by_part, by_corpus, durations):
        mark(figure, "utterances", synthetic=card.data.synthetic is not None)
    pictures = {
        "parts": [(picture(by_part, "Utterances of each emotion in each part"), "")],
        "corpora": [(picture(by_corpus, "Utterances of each emotion in each corpus"), "")],
        "durations": [(picture(durations, "How long utterances are, by corpus"), "")],
    }
    return render("data_card.html", **describe(card), pictures=pictures)


def render_markdown(card: Card) -> str:
    return render("data_card.md", **describe(card))


def describe(card: Card) -> dict[str, object]:
    """What both forms of the card say."""
    table = card.utterances
    return {
        "headline": [
            (f"{len(table):,}", "utterances", ""),
            (show_duration(table["seconds"].sum()), "of audio", ""),
            (f"{count_speakers(table):,}", "speakers", ""),
            (f"{len(card.data.label_space)}", "classes", ", ".join(card.data.label_space)),
            (f"{len(card.manifest.dropped):,}", "files left out", "each in dropped.csv"),
        ],
        "notices": find_notices(card),
        "corpora": tabulate_corpora(card),
        "parts_table": tabulate_parts(card),
        "emotions": tabulate_emotions(card),
        "recordings": tabulate_recordings(card),
        "dropped": tabulate_dropped(card),
        "repaired": list_repairs(card),
        "ambiguity": describe_ambiguity(card),
        "overlap": describe_overlap(card),
        "split": f"split={card.split.kind}, seed {card.split.seed}",
        "origins": tabulate_origins(card),
        "citations": [
            (str(row.title), str(row.citation))
            for row in card.manifest.corpora.itertuples()
            if row.citation
        ],
        "fingerprint": card.manifest.fingerprint,
    }


def show_duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def count_speakers(table: pd.DataFrame) -> int:
    return table.loc[table["speaker"] != "", "speaker"].nunique()


def find_notices(card: Card) -> list[str]:
    """What a reader should know before the numbers."""
    notices = list_missing(card.manifest) if card.data.synthetic is None else [SYNTHETIC]
    present = set(card.utterances["emotion"])
    if absent := [name for name in card.data.label_space if name not in present]:
        notices.append(f"No utterance of {', '.join(absent)}: the model cannot learn to hear it.")
    return notices


def list_missing(manifest: Manifest) -> list[str]:
    """One sentence for each corpus that has fewer files than a complete copy."""
    dropped = manifest.dropped[manifest.dropped["reason"] != Reason.MIRROR]
    named = pd.concat([manifest.utterances["corpus"], dropped.loc[dropped["id"] != "", "corpus"]])
    found = named.value_counts()
    return [
        f"{row['title']} is incomplete: {found.get(row['corpus'], 0):,} of {row['files']:,} files."
        for row in manifest.corpora.to_dict("records")
        if found.get(row["corpus"], 0) < row["files"]
    ]


def by_corpus(
    card: Card, columns: Sequence[str], cells: Callable[[pd.DataFrame], list[str]]
) -> Grid:
    """A row of `cells` for each corpus, and one for all of them."""
    groups = [(name, card.utterances[card.utterances["corpus"] == name]) for name in card.corpora]
    if len(groups) > 1:
        groups.append(("all", card.utterances))
    return Grid(["corpus", *columns], [[name, *cells(rows)] for name, rows in groups])


def tabulate_corpora(card: Card) -> Grid:
    def cells(rows: pd.DataFrame) -> list[str]:
        genders = rows[rows["speaker"] != ""].groupby("gender")["speaker"].nunique()
        known = [f"{count} {name}" for name, count in genders.items() if name]
        counts = [f"{len(rows):,}", f"{rows['seconds'].sum() / 3600:.2f}"]
        return [*counts, f"{count_speakers(rows):,}", ", ".join(known) or "not known"]

    return by_corpus(card, ["utterances", "hours", "speakers", "gender"], cells)


def tabulate_parts(card: Card) -> Grid:
    def cells(rows: pd.DataFrame) -> list[str]:
        parts = [rows[rows["split"] == part] for part in PARTS]
        return [f"{len(part):,} ({count_speakers(part):,})" for part in parts]

    return by_corpus(card, [f"{part} (speakers)" for part in PARTS], cells)


def tabulate_emotions(card: Card) -> Grid:
    def cells(rows: pd.DataFrame) -> list[str]:
        counts = rows["emotion"].value_counts()
        return [f"{counts.get(name, 0):,}" for name in card.data.label_space]

    return by_corpus(card, card.data.label_space, cells)


def tabulate_recordings(card: Card) -> Grid:
    def cells(rows: pd.DataFrame) -> list[str]:
        seconds, rates = rows["seconds"], sorted(rows["sample_rate"].unique())
        formats = sorted(rows["format"].unique())
        lengths = [f"{seconds.min():.2f}", f"{seconds.median():.2f}", f"{seconds.max():.2f}"]
        return [*lengths, ", ".join(f"{rate:,}" for rate in rates), ", ".join(formats)]

    return by_corpus(
        card, ["shortest, s", "median", "longest", "sample rates, Hz", "format"], cells
    )


def tabulate_dropped(card: Card) -> Grid:
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
    return Grid(["reason", *names, "all"], rows)


def count_reasons(card: Card) -> str:
    """How many files were left out for which reason, in a line."""
    reasons = card.manifest.dropped["reason"].value_counts().sort_index()
    return ", ".join(f"{name} {count:,}" for name, count in reasons.items())


def list_repairs(card: Card) -> list[str]:
    """What was put right in files that are used, in words."""
    table, repairs = card.utterances, []
    misnamed = table["path"].str.lower().str.endswith(".wav") & ~table["format"].str.startswith(
        "WAV"
    )
    for count, words in (
        ((table["channels"] > 1).sum(), "with several channels mixed to one"),
        ((table["sample_rate"] != 16_000).sum(), "resampled to 16,000 Hz"),
        (misnamed.sum(), "of another format under the name .wav, told from the content"),
        ((table["clipped"] > TOUCHED).sum(), "touch the limit in places, and are kept"),
        ((table["seconds"] > card.data.max_seconds).sum(),
         f"longer than data.max_seconds={card.data.max_seconds:g}, trimmed in training"),
    ):  # fmt: skip
        if count:
            repairs.append(f"{count:,} {words}")
    notes = table.loc[table["note"] != "", "note"].value_counts()
    return repairs + [f"{count:,} named oddly: {note}" for note, count in notes.items()]


def describe_ambiguity(card: Card) -> str:
    """Whether listeners were asked, and what came of it."""
    table, dropped = card.utterances, card.manifest.dropped
    judged, left = table["agreement"].dropna(), (dropped["reason"] == Reason.AMBIGUOUS).sum()
    if judged.empty and not left:
        return (
            "Ambiguity was not judged: no listeners' votes were given"
            " (data.votes.cremad, or the columns perceived and agreement of data.table)."
        )
    label = "perceived" if card.data.label_by == LabelSource.perceived else "intended"
    agreed = (judged >= card.data.min_agreement).mean()
    kept = f"{len(judged):,} of {len(table):,} utterances were judged by listeners, who agree"
    words = f"{kept} with the {label} label of {agreed:.1%} of them."
    if card.data.ambiguous == Ambiguous.drop or left:
        words += f" {left:,} ambiguous ones were left out."
    return words


def describe_overlap(card: Card) -> list[str]:
    """What the parts share, in sentences."""
    leaks, speakers = find_leaks(card.utterances), count_speakers(card.utterances)
    sentences = []
    if leaks.speakers:
        sentences.append(
            f"{len(leaks.speakers)} of {speakers} speakers are in more than one part"
            f" ({name_some(leaks.speakers)}), so scores flatter the model; split=speaker keeps them"
            " apart."
        )
    elif speakers:
        sentences.append("No speaker is in two parts.")
    if leaks.recordings:
        sentences.append(
            f"{len(leaks.recordings)} recordings are in more than one part, re-encoded or trimmed."
        )
    copies = len(card.utterances) - card.utterances["recording"].nunique()
    if copies and not leaks.recordings:
        sentences.append(f"{copies} utterances are copies of others in the same part.")
    return sentences


def name_some(names: Sequence[str]) -> str:
    """The names, or the first few where they are many."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def tabulate_origins(card: Card) -> Grid:
    rows = [
        [str(row.title), str(row.origin), str(row.licence) or "yours to know"]
        for row in card.manifest.corpora.itertuples()
    ]
    return Grid(["corpus", "from", "licence"], rows)


def show(card: Card) -> None:
    """Print how many utterances each part has of each corpus, and what was left out and why."""
    console = Console(soft_wrap=True)
    for notice in find_notices(card):
        console.print(notice, style="bold yellow")
    lost = card.manifest.dropped["corpus"].value_counts()
    table = Table("corpus")
    for column in (*PARTS, "hours", "speakers", "dropped"):
        table.add_column(column, justify="right")
    for name in card.corpora:
        rows = card.utterances[card.utterances["corpus"] == name]
        parts = [f"{(rows['split'] == part).sum():,}" for part in PARTS]
        hours = f"{rows['seconds'].sum() / 3600:.2f}"
        table.add_row(name, *parts, hours, str(count_speakers(rows)), f"{lost.get(name, 0):,}")
    console.print(table)
    if counts := count_reasons(card):
        total = len(card.manifest.dropped)
        console.print(f"Files dropped: {total:,} ({counts}), each listed in dropped.csv.")
    trimmed = (card.utterances["seconds"] > card.data.max_seconds).sum()
    if trimmed:
        console.print(
            f"Longer than data.max_seconds={card.data.max_seconds}, trimmed: {trimmed:,}."
        )
    if card.data.synthetic is None:
        console.print(describe_ambiguity(card))
    for sentence in describe_overlap(card):
        console.print(sentence)
