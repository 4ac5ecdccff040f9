from typing import Any

import pandas as pd
import pytest

from ser.metrics.sentences import (
    ALL,
    NEW,
    ONE,
    SOME,
    UNKNOWN,
    sentence_baseline,
    sentence_baselines,
)


def table(rows: list[tuple[str, str]], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=pd.Index(["sentence", "emotion"])).assign(**columns)


def test_sentences_of_one_emotion_give_the_label_away():
    train = table([("a", "sad"), ("b", "happy"), ("c", "sad"), ("c", "happy"), ("c", "happy")])
    test = table([("a", "sad"), ("a", "sad"), ("b", "happy"), ("c", "sad"), ("c", "happy")])
    found = sentence_baseline(train, test)
    assert found.kinds.tolist() == [ONE, ONE, ONE, ALL, ALL]
    assert found.uar == pytest.approx((2 / 3 + 2 / 2) / 2)  # "c" is predicted happy
    assert found.chance == 1 / 2
    assert found.gives_away


def test_sentences_of_every_emotion_score_chance():
    rows = [(sentence, emotion) for sentence in "ab" for emotion in ("sad", "happy", "angry")]
    found = sentence_baseline(table(rows), table(rows))
    assert found.uar == pytest.approx(1 / 3)
    assert set(found.kinds) == {ALL}
    assert not found.gives_away


def test_a_sentence_in_another_emotion_of_the_test_part_counts_too():
    found = sentence_baseline(table([("a", "sad")]), table([("a", "happy"), ("a", "sad")]))
    assert found.kinds.tolist() == [ALL, ALL]


def test_new_sentences_are_predicted_as_the_most_frequent_emotion():
    train = table([("a", "sad"), ("b", "sad"), ("c", "happy")])
    found = sentence_baseline(train, table([("x", "sad"), ("y", "happy")]))
    assert found.uar == pytest.approx((1 + 0) / 2)


def test_unknown_sentences_are_not_scored():
    train = table([("a", "sad"), ("b", "happy")])
    found = sentence_baseline(train, table([("a", "sad"), ("", "happy")]))
    assert found.kinds.tolist() == [ONE, UNKNOWN]
    assert found.uar == 1
    nothing = sentence_baseline(train, table([("", "sad"), ("", "happy")]))
    assert nothing.uar is None
    assert not nothing.gives_away


def test_the_sentence_of_another_corpus_is_another_sentence():
    train = table([("01", "sad"), ("01", "happy")], corpus=["a", "b"])
    test = table([("01", "sad"), ("01", "happy")], corpus=["a", "b"])
    assert sentence_baseline(train, test).uar == 1


def test_a_table_without_sentences_is_refused():
    good = table([("a", "sad")])
    with pytest.raises(ValueError, match="sentence"):
        sentence_baseline(good.drop(columns="sentence"), good)
    with pytest.raises(ValueError, match="no utterances"):
        sentence_baseline(good, good.iloc[:0])


def test_kinds_are_relative_to_the_emotions_of_the_corpus():
    rows = [("a", "sad"), ("a", "happy"), ("a", "calm"), ("b", "sad"), ("b", "calm")]
    rows += [("c", "sad"), ("x", "sad")]
    train = table(rows[:6], corpus="one")
    test = table(rows, corpus="one")
    assert sentence_baseline(train, test).kinds.tolist() == [*[ALL] * 3, SOME, SOME, ONE, NEW]


def test_each_corpus_has_a_baseline_of_its_own():
    telling = table([("a", "sad"), ("b", "happy")], corpus="telling")
    neutral = table([(s, e) for s in "ab" for e in ("sad", "happy")], corpus="neutral")
    unknown = table([("", "sad"), ("", "happy")], corpus="unknown")
    new = table([("a", "sad")], corpus="new")
    train = pd.concat([telling, neutral, unknown])
    found = sentence_baselines(train, pd.concat([train, new]))
    assert {name: each.uar for name, each in found.items()} == {"telling": 1.0, "neutral": 0.5}
    assert [name for name, each in found.items() if each.gives_away] == ["telling"]
