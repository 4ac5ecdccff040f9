"""The data card: what a run is trained on, what was left out and why, and on whose terms."""

from pathlib import Path

from ser.figures.distributions import choose_limits, draw_distribution, draw_durations
from ser.figures.style import PARTS as PART_COLOURS
from ser.figures.style import SERIES, mark
from ser.preparation.splits import PARTS
from ser.reports import data_summary as summary
from ser.reports.data_summary import DataCard, count_reasons, count_speakers, describe_overlap
from ser.reports.html import picture, render
from ser.reports.tables import Table, count
from ser.reports.terminal import show as print_all
from ser.system.atomic import write_text


def write(card: DataCard, folder: Path) -> None:
    """Write the manifest, data_card.md and data_card.html into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    card.manifest.write(folder)
    for name, text in (("md", render_markdown(card)), ("html", render_page(card))):
        write_text(folder / f"data_card.{name}", text)


def render_page(card: DataCard) -> str:
    """The card as one HTML page with figures."""
    table, corpora, labels = card.utterances, card.corpora, card.data.label_space
    sizes = {name: table.groupby([name, "emotion"]).size() for name in ("split", "corpus")}
    groups = {"parts": ("split", PARTS, PART_COLOURS), "corpora": ("corpus", corpora, SERIES)}
    figures = {}
    for name, (column, order, colours) in groups.items():
        counts = {each: [int(sizes[column].get((each, e), 0)) for e in labels] for each in order}
        figures[name] = [draw_distribution(counts, labels, colours)]
    seconds = [table.loc[table["corpus"] == name, "seconds"].to_numpy() for name in corpora]
    limits = choose_limits(seconds)
    figures["durations"] = [
        draw_durations(each, name, colour=SERIES[place % len(SERIES)], limits=limits)
        for place, (name, each) in enumerate(zip(corpora, seconds, strict=True))
    ]
    alts = {
        "parts": "Utterances of each emotion in each part",
        "corpora": "Utterances of each emotion in each corpus",
        "durations": "Durations of the utterances of a corpus",
    }
    for figure in (each for several in figures.values() for each in several):
        mark(figure, "", synthetic=card.data.synthetic is not None)
    pictures = {
        name: [(picture(each, alts[name]), "") for each in several]
        for name, several in figures.items()
    }
    return render("data_card.html", **describe(card), pictures=pictures)


def render_markdown(card: DataCard) -> str:
    return render("data_card.md", **describe(card))


def describe(card: DataCard) -> dict[str, object]:
    """What both forms of the card say."""
    table = card.utterances
    return {
        "headline": [
            (count(len(table)), "utterances", ""),
            (summary.show_duration(table["seconds"].sum()), "audio", ""),
            (count(count_speakers(table)), "speakers", ""),
            (count(len(card.data.label_space)), "classes", ", ".join(card.data.label_space)),
            (count(len(card.manifest.dropped)), "files left out", "listed in dropped.csv"),
        ],
        "notices": summary.find_notices(card),
        "corpora": summary.tabulate_corpora(card),
        "parts_table": summary.tabulate_parts(card),
        "emotions": summary.tabulate_emotions(card),
        "recordings": summary.tabulate_recordings(card),
        "dropped": summary.tabulate_dropped(card),
        "repaired": summary.list_repairs(card),
        "ambiguity": summary.describe_ambiguity(card),
        "overlap": describe_overlap(card),
        "sentences": summary.describe_sentences(card),
        "sentence_table": summary.tabulate_sentences(card),
        "split": f"{card.split.described}, seed {card.split.seed}",
        "origins": summary.tabulate_origins(card),
        "citations": [
            (str(row.title), str(row.citation))
            for row in card.manifest.corpora.itertuples()
            if row.citation
        ],
        "fingerprint": card.manifest.fingerprint,
    }


def show(card: DataCard) -> None:
    """Print the number of utterances of each part and corpus, and what was left out and why."""
    for notice in summary.find_notices(card):
        print_all(notice, style="bold yellow")
    lost = card.manifest.dropped["corpus"].value_counts()
    table = []
    for name in card.corpora:
        rows = card.utterances[card.utterances["corpus"] == name]
        parts = [count(int((rows["split"] == part).sum())) for part in PARTS]
        hours = f"{rows['seconds'].sum() / 3600:.2f}"
        table.append([name, *parts, hours, count(count_speakers(rows)), f"{lost.get(name, 0):,}"])
    print_all(Table(["corpus", *PARTS, "hours", "speakers", "dropped"], table))
    if counts := count_reasons(card):
        total = len(card.manifest.dropped)
        print_all(f"Files dropped: {total:,} ({counts}); dropped.csv lists each one.")
    trimmed = (card.utterances["seconds"] > card.data.max_seconds).sum()
    if trimmed:
        longest = card.data.max_seconds
        print_all(f"Longer than data.max_seconds={longest:g}, trimmed in training: {trimmed:,}.")
    if summary.has_votes(card):
        print_all(summary.describe_ambiguity(card))
    # Sentences that give the label away were logged in the preparation.
    for sentence in describe_overlap(card):
        print_all(sentence)
