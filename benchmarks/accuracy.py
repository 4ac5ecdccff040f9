"""Accuracy on standard protocols with a frozen backbone and a fitted linear head.

`python benchmarks/accuracy.py ROW [SETTING=VALUE ...]`, for example

    python benchmarks/accuracy.py ravdess-emobox data.paths.ravdess=FOLDER

measures one row and writes it into `docs/results.md`. Settings are those of `ser train`; the
recipe is `experiment=layers`. Every head is fitted to the training and validation part of its
fold; validation chooses nothing, and the test part is used for scores only. The pooled features
are computed once for all rows and kept in `data.cache_dir`.

With `acoustic`, the classic baseline of `ser baseline` takes the place of the network: a linear
model or an SVM on statistics of MFCC, pitch and energy. Cross-validation over the training speakers
chooses between them, and their regularisation.

With `model.standardize=speaker`, all recordings of a test speaker are adapted to, or with `clips=N`
only N random ones of them.
"""

import sys
import time
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from protocols import PROTOCOLS, Protocol

from ser.audio.cache import AudioCache
from ser.config.baseline import FeatureSet
from ser.config.compose import compose_command
from ser.config.model import Standardize
from ser.config.train import TrainConfig
from ser.evaluation.baseline import extract
from ser.metrics.intervals import Interval, count_by_speaker, find_intervals
from ser.metrics.scores import score, to_indices
from ser.models.network import EmotionNetwork
from ser.models.standardization import Standardization, Statistics
from ser.preparation.manifest import Manifest
from ser.preparation.prepare import prepare
from ser.system.libraries import silence_warnings
from ser.training.baseline import Features
from ser.training.baseline import fit as fit_baseline
from ser.training.features import PartFeatures, collect
from ser.training.head import cross_validate, list_candidates, select
from ser.training.provenance import processor
from ser.training.train import build
from ser.training.trainer import build_trainer

RESULTS = Path(__file__).parents[1] / "docs" / "results.md"
END = "<!-- rows end -->"
PLACES = (
    "data.paths",
    "data.cache_dir",
    "model.backbone.name",
    "model.backbone.arch",
)  # of this machine
ENOUGH_SPEAKERS = 10  # below, the score of each speaker is shown instead of an interval
CLIPS = "clips="
ACOUSTIC = "acoustic"
DRAWS = 5  # random choices of clips, whose scores are averaged


@dataclass(frozen=True)
class Fold:
    """The test utterances of one fold, their labels and predictions, and what was picked."""

    utterances: pd.DataFrame
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    names: tuple[str, ...]
    picked: str
    validated: float

    @property
    def uar(self) -> float:
        return score(self.labels, self.predictions, self.names).uar

    @property
    def accuracy(self) -> float:
        return float((self.labels == self.predictions).mean())

    def only(self, rows: NDArray[np.bool_]) -> "Fold":
        """The utterances of a mask (utterances,)."""
        return replace(
            self,
            utterances=self.utterances[rows],
            labels=self.labels[rows],
            predictions=self.predictions[rows],
        )


def main(name: str, overrides: list[str]) -> None:
    if name not in PROTOCOLS:
        sys.exit(f"choose a row: {', '.join(PROTOCOLS)}")
    silence_warnings()
    protocol, started = PROTOCOLS[name], time.perf_counter()
    counts = [int(word.removeprefix(CLIPS)) for word in overrides if word.startswith(CLIPS)]
    settings = [w for w in overrides if not w.startswith(CLIPS) and w != ACOUSTIC]
    clips, known = counts[0] if counts else None, {}
    folds = []
    for words in protocol.folds:
        config, manifest, cache = prepare_fold(protocol, [*words, *settings])
        if ACOUSTIC in overrides:
            folds.append(measure_baseline(config, manifest, cache, known))
        else:
            folds.append(measure(config, manifest, cache, clips))
    changed = [word for word in overrides if not word.startswith(PLACES)]
    row = describe((name, *changed), protocol, folds, time.perf_counter() - started)
    write_row(row)
    print(row)


def prepare_fold(protocol: Protocol, words: list[str]) -> tuple[TrainConfig, Manifest, AudioCache]:
    settings = ["experiment=layers", *protocol.settings, *words, "output_dir=unused"]
    config = compose_command("train", settings, TrainConfig)
    cache = AudioCache(Path(config.data.cache_dir))
    return config, prepare(config.data, config.split, cache), cache


def measure(config: TrainConfig, manifest: Manifest, cache: AudioCache, clips: int | None) -> Fold:
    """Fit a head to the training and validation part of a fold, and predict its test part.

    `clips` are adapted to per test speaker; all of them if None.
    """
    adapts = config.model.standardize == Standardize.speaker
    if clips is not None and not adapts:
        sys.exit(f"{CLIPS}{clips} needs model.standardize=speaker")
    module, data = build(config, manifest, cache)
    network = module.network.eval()
    trainer = build_trainer(replace(config, callbacks={}, logger={}))
    data.states = data.compute_states(network, trainer, ("train", "val", "test"))
    parts = [collect(data, network, part, config.data.speeds) for part in ("train", "val")]
    test = collect(data, network, "test", config.data.speeds)
    train, utterances = join(parts), manifest.part("test")
    if adapts:
        draws = 1 if clips is None else DRAWS
        adapted = [standardize(train, test, clips, draw) for draw in range(draws)]
        train, test = standardize(train, train), adapted[0]
        for other in adapted[1:]:
            test = join([test, other])
        utterances = pd.concat([utterances] * draws)
    predictions, picked, validated = fit(train, test, network, config)
    names = tuple(config.data.label_space)
    return Fold(utterances, test.labels, predictions, names, picked, validated)


def measure_baseline(
    config: TrainConfig, manifest: Manifest, cache: AudioCache, known: dict[str, Features]
) -> Fold:
    """Fit the acoustic baseline as `measure` fits a head.

    `known` holds the features by content of a recording. Those of this fold are added to it.
    """
    table = manifest.utterances
    new = table[~table["content"].isin(known.keys())].drop_duplicates("content")
    if len(new):
        values = extract(new, cache, config, FeatureSet.classic)
        known |= dict(zip(new["content"], values, strict=True))
    train = pd.concat([manifest.part("train"), manifest.part("val")])
    test, names = manifest.part("test"), tuple(config.data.label_space)
    fitted = fit_baseline(
        np.stack([known[content] for content in train["content"]]),
        to_indices(train["emotion"], names, "labels"),
        train["speaker"].tolist(),
        seed=config.seed,
    )
    logits = fitted.logits(np.stack([known[content] for content in test["content"]]), len(names))
    labels = to_indices(test["emotion"], names, "labels")
    return Fold(test, labels, logits.argmax(1), names, str(fitted.candidate), fitted.score)


def join(parts: list[PartFeatures]) -> PartFeatures:
    return PartFeatures(
        np.concatenate([part.values for part in parts], axis=1),
        np.concatenate([part.labels for part in parts]),
        [speaker for part in parts for speaker in part.speakers],
        [corpus for part in parts for corpus in part.corpora],
    )


def standardize(
    train: PartFeatures, part: PartFeatures, clips: int | None = None, draw: int = 0
) -> PartFeatures:
    """The features of a part standardised by clips of each speaker, without labels.

    `train` are the features of the training speakers, towards which few clips are shrunk. `clips`
    random ones of each speaker are used, or all.
    """
    values, speakers = np.empty_like(part.values), np.asarray(part.speakers)
    generator = np.random.default_rng(draw)
    used = {
        speaker: generator.permutation(np.flatnonzero(speakers == speaker))[:clips]
        for speaker in sorted(set(part.speakers))
    }
    for copy, (own, given) in enumerate(zip(part.values, train.values, strict=True)):
        common = Standardization.fit(given, train.speakers)
        for speaker, chosen in used.items():
            rows = speakers == speaker
            values[copy, rows] = common.adapt(Statistics.of(own[chosen])).apply(own[rows])
    return replace(part, values=values)


def fit(
    train: PartFeatures, test: PartFeatures, network: EmotionNetwork, config: TrainConfig
) -> tuple[NDArray[np.int64], str, float]:
    """Predicted labels of `test`, what was picked, and its cross-validated UAR.

    A single candidate needs no choice, so its UAR is NaN.
    """
    candidates = list_candidates(config, train.labels)
    blocks, best, validated = max(1, len(network.joined)), candidates[0], float("nan")
    if len(candidates) > 1:
        logits = cross_validate(
            *(train.values, train.labels, train.fold_groups(config), candidates),
            *(config.seed, blocks),
        )
        choice = select(logits, train.labels)
        best, validated = choice.best, choice.score
    head = best.fit_copies(train.values, train.labels, blocks)
    return head.predict(test.values), str(best), validated


def describe(words: tuple[str, ...], protocol: Protocol, folds: list[Fold], seconds: float) -> str:
    """The row of a protocol in the table of results. `words` are its name and changed settings."""
    uar = show(folds, "uar")
    if protocol.sentences:
        uar += f"; common sentences {show(common_sentences(folds), 'uar')}"
    cells = [
        f"`{' '.join(words)}`",
        protocol.title,
        protocol.published or "none",
        uar,
        show(folds, "accuracy"),
        ", ".join(sorted({fold.picked for fold in folds})),
        f"{seconds:.0f} s, {processor()}, {date.today().isoformat()}",
    ]
    return "| " + " | ".join(cells) + " |"


def show(folds: list[Fold], metric: str) -> str:
    """The mean over folds; the interval over all speakers, or the score of each speaker."""
    mean = float(np.mean([getattr(fold, metric) for fold in folds]))
    speakers = pd.concat([fold.utterances["speaker"] for fold in folds]).to_numpy(str)
    names = sorted(set(speakers))
    labels = np.concatenate([fold.labels for fold in folds])
    predictions = np.concatenate([fold.predictions for fold in folds])
    strata = pd.concat([fold.utterances["corpus"] for fold in folds]).to_numpy(str)
    counts = count_by_speaker(speakers, labels, predictions, len(folds[0].names), strata=strata)
    if len(names) >= ENOUGH_SPEAKERS:
        interval: Interval | None = find_intervals(counts).get(metric)
        pooled = counts.total(metric)
        text = "" if interval is None else f", {interval.low:.3f} to {interval.high:.3f}"
        return f"**{mean:.3f}** (pooled {pooled:.3f}{text})"
    each = [f"{speaker.split('/')[-1]} {value:.3f}" for speaker, value in by_speaker(folds, metric)]
    return f"**{mean:.3f}** ({', '.join(each)})"


def by_speaker(folds: list[Fold], metric: str) -> list[tuple[str, float]]:
    """The score of each speaker."""
    found = []
    for fold in folds:
        speakers = fold.utterances["speaker"].to_numpy(str)
        for speaker in sorted(set(speakers)):
            found.append((speaker, float(getattr(fold.only(speakers == speaker), metric))))
    return found


def common_sentences(folds: list[Fold]) -> list[Fold]:
    """The folds without the sentences that occur in some of the emotions only."""
    table = pd.concat([fold.utterances for fold in folds])
    emotions = table.groupby("sentence")["emotion"].nunique()
    common = set(emotions.index[emotions == table["emotion"].nunique()])
    return [fold.only(fold.utterances["sentence"].isin(common).to_numpy()) for fold in folds]


def write_row(row: str) -> None:
    """Write a row into docs/results.md, in the place of an earlier one or below the last one."""
    lines = RESULTS.read_text().splitlines()
    first = row.split(" | ")[0]
    same = [place for place, line in enumerate(lines) if line.startswith(f"{first} |")]
    end = lines.index(END)
    lines[same[0] if same else end : same[0] + 1 if same else end] = [row]
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"choose a row: {', '.join(PROTOCOLS)}")
    main(sys.argv[1], sys.argv[2:])
