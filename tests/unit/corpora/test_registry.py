from importlib.metadata import EntryPoint, EntryPoints
from pathlib import PurePosixPath

import pytest

from ser import corpora as registry
from ser.config.data import DataConfig
from ser.config.plain import from_plain, to_plain
from ser.config.train import TrainConfig
from ser.corpora import CORPORA, MERGED, Corpus, Utterance, corpus_names, register
from ser.corpora.emotions import LABELS, SYNONYMS
from ser.errors import UserError


def test_the_merge_is_the_four_corpora_whatever_else_is_registered():
    assert MERGED == ("ravdess", "cremad", "tess", "savee")
    assert set(MERGED) < set(CORPORA)


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_every_corpus_states_its_terms_and_an_example_that_parses(name):
    corpus = CORPORA[name]
    assert corpus.name == name
    assert corpus.licence
    assert corpus.citation
    assert corpus.handles or corpus.homepage
    if corpus.parse is not None:
        assert corpus.parse(PurePosixPath(corpus.example)).id


def mine(name: str = "mine") -> Corpus:
    def parse(path) -> Utterance:
        return Utterance(path.stem, "", "", "happy", "")

    return Corpus(name=name, title="Mine", licence="", citation="", parse=parse)


def test_a_corpus_is_registered_once_under_a_free_name():
    corpus = mine()
    try:
        register(corpus)
        register(corpus)
        assert CORPORA["mine"] is corpus
        with pytest.raises(UserError, match="mine"):
            register(mine())
        with pytest.raises(UserError, match="tess"):
            register(mine("tess"))
        with pytest.raises(UserError):
            register("tess")  # pyright: ignore[reportArgumentType]
    finally:
        CORPORA.pop("mine", None)


def test_an_installed_corpus_is_imported_when_it_is_looked_up(monkeypatch):
    loaded = []

    class Installed(EntryPoint):
        def load(self) -> Corpus:
            loaded.append(self.name)
            return mine(self.name)

    def entry_points(group: str, name: str | None = None):
        assert group == "ser.corpora"
        found = [Installed("plugin", "somewhere:CORPUS", group)]
        return [each for each in found if name in (None, each.name)]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    monkeypatch.setattr(registry, "installed_names", lambda: ["plugin"])
    assert "plugin" in corpus_names()
    assert loaded == []
    assert CORPORA["plugin"].title == "Mine"
    assert loaded == ["plugin"]
    CORPORA.pop("plugin")
    with pytest.raises(UserError, match="did you mean plugin"):
        CORPORA["plugim"]


def test_an_entry_point_of_another_name_than_its_corpus_is_an_error(monkeypatch):
    class Installed(EntryPoint):
        def load(self) -> Corpus:
            return mine("waders")

    found = Installed("plugin", "somewhere:CORPUS", "ser.corpora")
    monkeypatch.setattr(registry, "entry_points", lambda **_: [found])
    try:
        with pytest.raises(UserError, match=r"'plugin'.*'waders'"):
            CORPORA["plugin"]
    finally:
        CORPORA.pop("waders", None)


def test_settings_of_a_checkpoint_import_no_corpus(monkeypatch):
    """Names are looked up when the data are prepared, not when a checkpoint is read."""
    registry.installed_names.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda **_: pytest.fail("looked up"))
    plain = to_plain(TrainConfig(output_dir="x", data=DataConfig(corpora=["evil"])))
    assert from_plain(plain).data.corpora == ["evil"]
    monkeypatch.setattr(registry, "entry_points", lambda **_: EntryPoints(()))
    with pytest.raises(UserError, match=r"data\.corpora=evil"):
        DataConfig(corpora=["evil"]).check_files()


def test_a_corpus_needs_one_source_of_labels():
    with pytest.raises(ValueError, match="parse"):
        Corpus(name="x", title="", licence="", citation="")


def test_synonyms_point_to_classes():
    assert set(SYNONYMS.values()) == set(LABELS)
    assert not set(SYNONYMS) & set(LABELS)
    words = {"happiness": "happy", "anger": "angry", "ang": "angry", "fearful": "fear", "surprised": "surprise",
             "disgusted": "disgust", "sadness": "sad", "neutrality": "neutral", "calmness": "calm"}  # fmt: skip
    assert {word: SYNONYMS[word] for word in words} == words
