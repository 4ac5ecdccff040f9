"""The registry of corpora: one file each, and one line here.

A package outside this one adds its own with `register`, or declares it as an entry point of the
group `ser.corpora`, which is imported only when the user names the corpus.
"""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points

from ser.corpora import (
    cremad,
    emodb,
    esd,
    iemocap,
    meld,
    msp_podcast,
    ravdess,
    savee,
    tess,
)
from ser.corpora.corpus import Corpus, Fold, Utterance
from ser.errors import UserError, suggest

ENTRY_POINTS = "ser.corpora"
MERGED = ("ravdess", "cremad", "tess", "savee")  # what data=all merges


class Registry(dict[str, Corpus]):
    """Corpora by name; installed entry points are loaded when they are first looked up."""

    def __missing__(self, name: str) -> Corpus:
        for entry in entry_points(group=ENTRY_POINTS, name=name):
            corpus = entry.load()
            register(corpus)
            if corpus.name != name:
                raise UserError(
                    f"the entry point {name!r} of {ENTRY_POINTS} holds a corpus named"
                    f" {corpus.name!r}; give both the same name"
                )
            return corpus
        known = corpus_names()
        hint = suggest(name, known)
        raise UserError(f"there is no corpus {name!r}; choose from {', '.join(known)}{hint}")


def register(corpus: Corpus) -> None:
    """Make a corpus available under its name; raises UserError if the name is taken."""
    if not isinstance(corpus, Corpus):
        raise UserError(f"{corpus!r} is not a ser.corpora.Corpus")
    if CORPORA.get(corpus.name, corpus) != corpus:
        raise UserError(f"a corpus named {corpus.name!r} exists; choose another name")
    CORPORA[corpus.name] = corpus


def corpus_names() -> list[str]:
    """The names of all corpora; entry points are not imported."""
    return list(dict.fromkeys([*CORPORA, *installed_names()]))


@cache
def installed_names() -> list[str]:
    return sorted(entry_points(group=ENTRY_POINTS).names)


def schemes(names: Iterable[str]) -> list[str]:
    """The published fold schemes of these corpora."""
    return sorted({scheme for name in names for scheme in CORPORA[name].folds})


BUILT_IN = (ravdess, cremad, tess, savee, emodb, iemocap, msp_podcast, meld, esd)
CORPORA = Registry({module.CORPUS.name: module.CORPUS for module in BUILT_IN})

__all__ = ["CORPORA", "MERGED", "Corpus", "Fold", "Utterance", "corpus_names", "register"]
