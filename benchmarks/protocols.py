"""The protocols of `accuracy.py`: data, folds and the best published value."""

from dataclasses import dataclass

SEVEN = ("data.merge={calm: neutral}",)  # only RAVDESS has calm
MERGED = ("data=all", "data.corpora=[ravdess,tess,savee]")
CORPORA = ("ravdess", "tess", "savee")
# LDA or logistic regression, by leaving out one corpus of the training part at a time.
CHOSEN = ("model.fit=auto", "model.fit_strengths=[0.01,0.1]")


@dataclass(frozen=True)
class Protocol:
    """A test: settings of all its folds, and of each fold. `published` is the best known value.

    With `sentences`, scores on the sentences that are common to all emotions are shown too.
    """

    title: str
    settings: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...] = ((),)
    published: str = ""
    sentences: bool = False


def folds(count: int) -> tuple[tuple[str, ...], ...]:
    return tuple((f"split.fold={number}",) for number in range(1, count + 1))


def across(train: str, test: str) -> Protocol:
    """Train on one corpus and test on another one."""
    return Protocol(
        f"train on {train.upper()}, test on {test.upper()}, 7 classes",
        (f"data.corpora=[{train},{test}]", "split=corpus", f"split.held_out=[{test}]", *SEVEN),
    )


PROTOCOLS = {
    "ravdess-emobox": Protocol(
        "RAVDESS, 8 classes, six EmoBox folds",
        ("data=ravdess", "split=folds", "split.scheme=emobox"),
        folds(6),
        "UAR 0.753, frozen Whisper-large-v3 (EmoBox)",
    ),
    "ravdess-luna-jimenez": Protocol(
        "RAVDESS, 8 classes, five Luna-Jimenez folds",
        ("data=ravdess", "split=folds", "split.scheme=luna_jimenez"),
        folds(5),
        "accuracy 0.818, xlsr-53 fine-tuned, checkpoint chosen on the test fold",
    ),
    "savee": Protocol(
        "SAVEE, 7 classes, one speaker left out at a time",
        ("data=savee", "split=folds", "split.scheme=emobox", *SEVEN),
        folds(4),
        "UAR 0.758 on all sentences, frozen data2vec2-large (EmoBox)",
        sentences=True,
    ),
    "tess-to-younger": Protocol(
        "TESS, 7 classes, train on the older speaker, test on the younger one",
        ("data=tess", "split=cross_speaker", "split.test_speakers=[YAF]", *SEVEN),
    ),
    "tess-to-older": Protocol(
        "TESS, 7 classes, train on the younger speaker, test on the older one",
        ("data=tess", "split=cross_speaker", "split.test_speakers=[OAF]", *SEVEN),
    ),
    "merged-random": Protocol(
        "RAVDESS + TESS + SAVEE, 8 classes, random 70/20/10; speakers are in all parts",
        (*MERGED, "split=stratified"),
    ),
    "merged-speaker": Protocol(
        "RAVDESS + TESS + SAVEE, 8 classes, five folds over speakers; TESS is for training only",
        (*MERGED, "split=folds"),
        folds(5),
    ),
    **{
        f"without-{name}": Protocol(
            f"train on the other two corpora, test on {name.upper()}, 7 classes",
            (*MERGED, "split=corpus", f"split.held_out=[{name}]", *SEVEN, *CHOSEN),
        )
        for name in CORPORA
    },
    **{
        f"{train}-to-{test}": across(train, test)
        for train in CORPORA
        for test in CORPORA
        if train != test
    },
}
