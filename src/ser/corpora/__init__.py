"""The corpora this project knows: one file each, and one line here."""

from ser.corpora import cremad, ravdess, savee, tess
from ser.corpora.corpus import Corpus, Utterance

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        ravdess.CORPUS,
        cremad.CORPUS,
        tess.CORPUS,
        savee.CORPUS,
    )
}

__all__ = ["CORPORA", "Corpus", "Utterance"]
