"""What must hold for all inputs (Hypothesis)."""

import warnings
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from ser.config.split import SplitConfig, SplitKind
from ser.corpora import CORPORA, cremad, ravdess, savee, tess
from ser.data.sampler import BatchPlan, BucketBatchSampler, Shard
from ser.metrics.scores import score
from ser.preparation.leaks import find_leaks
from ser.preparation.manifest import COLUMNS, DROPPED_COLUMNS, Manifest, deduplicate
from ser.preparation.splits import assign

quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(
    st.sampled_from(sorted(ravdess.EMOTIONS)), st.sampled_from("12"), st.sampled_from("12"),
    st.integers(1, 24),
)  # fmt: skip
def test_parse_inverts_the_ravdess_grammar(emotion, statement, repetition, actor):
    name = f"03-01-{emotion}-01-0{statement}-0{repetition}-{actor:02}"
    utterance = ravdess.parse(PurePosixPath(f"Actor_{actor:02}/{name}.wav"))
    assert (utterance.id, utterance.emotion) == (name, ravdess.EMOTIONS[emotion])
    assert (utterance.speaker, utterance.gender) == (f"{actor:02}", ("female", "male")[actor % 2])


@given(
    st.integers(1001, 1091), st.sampled_from(["DFA", "IEO", "WSI"]),
    st.sampled_from(sorted(cremad.EMOTIONS)), st.sampled_from(["LO", "MD", "HI", "XX"]),
)  # fmt: skip
def test_parse_inverts_the_cremad_grammar(actor, sentence, emotion, level):
    name = f"{actor}_{sentence}_{emotion}_{level}"
    utterance = cremad.parse(PurePosixPath(f"{name}.wav"))
    assert (utterance.id, utterance.emotion) == (name, cremad.EMOTIONS[emotion])


@given(st.sampled_from(["OAF", "YAF"]), st.from_regex(r"[a-z]{2,9}", fullmatch=True), st.sampled_from(sorted(tess.EMOTIONS)))  # fmt: skip
def test_parse_inverts_the_tess_grammar(speaker, word, emotion):
    name = f"{speaker}_{word}_{emotion}"
    utterance = tess.parse(PurePosixPath(f"any/{name}.wav"))
    assert (utterance.id, utterance.emotion) == (name, tess.EMOTIONS[emotion])


@given(st.sampled_from(savee.SPEAKERS), st.sampled_from(sorted(savee.EMOTIONS)), st.integers(1, 15))
def test_both_savee_layouts_say_the_same(speaker, code, number):
    flat = savee.parse(PurePosixPath(f"ALL/{speaker}_{code}{number:02}.wav"))
    nested = savee.parse(PurePosixPath(f"AudioData/{speaker}/{code}{number:02}.wav"))
    assert flat == nested
    assert (flat.speaker, flat.emotion) == (speaker, savee.EMOTIONS[code])


@given(st.text(max_size=30).filter(lambda name: "/" not in name))
def test_any_other_name_is_refused_or_understood_but_never_crashes(name):
    for corpus in CORPORA.values():
        try:
            if corpus.parse is not None:
                corpus.parse(PurePosixPath("folder") / name)
        except ValueError:
            continue


@st.composite
def recordings(draw) -> Manifest:
    """Utterances of which some share their content, with or without their label."""
    count = draw(st.integers(1, 25))
    rows = {
        "id": [f"tess/{index}" for index in range(count)],
        "emotion": draw(
            st.lists(st.sampled_from(["sad", "happy"]), min_size=count, max_size=count)
        ),
        "content": draw(st.lists(st.sampled_from("abcdefghijkl"), min_size=count, max_size=count)),
        "path": [f"/t/{index:02}.wav" for index in range(count)],
    }
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS)).assign(corpus="tess")
    mirrors = table.sample(draw(st.integers(0, count)), random_state=0)
    mirrors = mirrors.assign(path=mirrors["path"].str.replace("/t/", "/t/x/"))
    empty = pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))
    return Manifest(pd.concat([table, mirrors], ignore_index=True), empty)


@pytest.mark.slow
@quick
@given(recordings(), st.integers(0, 5))
def test_deduplication_drops_conflicts_whole_keeps_one_of_the_rest_and_loses_nothing(
    manifest, seed
):
    table = manifest.utterances
    done = deduplicate(manifest)
    emotions = table.groupby("content")["emotion"].nunique()
    assert set(done.utterances["content"]) == set(emotions.index[emotions == 1])
    assert done.utterances["content"].is_unique
    assert sorted([*done.utterances["path"], *done.dropped["path"]]) == sorted(table["path"])
    again = deduplicate(done)
    pd.testing.assert_frame_equal(again.utterances, done.utterances)
    shuffled = deduplicate(Manifest(table.sample(frac=1, random_state=seed), manifest.dropped))
    assert set(shuffled.utterances["id"]) == set(done.utterances["id"])


@st.composite
def speakers(draw) -> Manifest:
    """Corpora of three speakers or more, each with every emotion, in uneven numbers."""
    rows = []
    for corpus in draw(st.sampled_from([["ravdess"], ["ravdess", "savee", "tess"]])):
        for speaker in range(draw(st.integers(3, 30))):
            for emotion in ("sad", "happy", "calm"):
                for take in range(draw(st.integers(3, 6))):
                    name = f"{corpus}/{speaker}/{emotion}/{take}"
                    rows.append((name, corpus, f"{corpus}/{speaker}", emotion))
    table = pd.DataFrame(rows, columns=pd.Index(["id", "corpus", "speaker", "emotion"]))
    table = table.assign(gender="", sentence="", content=table["id"], recording=table["id"])
    return Manifest(table, pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS)))


@pytest.mark.slow
@quick
@given(
    speakers(),
    st.sampled_from([SplitKind.stratified, SplitKind.speaker, SplitKind.folds]),
    st.integers(0, 99),
)
def test_every_utterance_is_in_one_part_and_no_speaker_of_a_speaker_split_in_two(
    manifest, kind, seed
):
    done = assign(manifest, SplitConfig(kind=kind, seed=seed)).utterances
    assert sorted(done["id"]) == sorted(manifest.utterances["id"])
    assert set(done["split"]) == {"train", "val", "test"}
    assert not find_leaks(done).recordings
    assert kind == SplitKind.stratified or not find_leaks(done).speakers
    mixed = Manifest(manifest.utterances.sample(frac=1, random_state=seed), manifest.dropped)
    pd.testing.assert_frame_equal(assign(mixed, SplitConfig(kind=kind, seed=seed)).utterances, done)


@given(
    st.lists(st.floats(0.1, 8), min_size=1, max_size=200), st.integers(1, 20), st.integers(1, 4),
    st.booleans(), st.integers(0, 3), st.none() | st.floats(8, 60),
)  # fmt: skip
def test_devices_together_see_every_utterance_once_in_equal_numbers_of_batches(
    seconds, size, world, shuffle, epoch, budget
):
    shares = []
    for rank in range(world):
        plan = BatchPlan(size, budget, shuffle=shuffle)
        sampler = BucketBatchSampler(seconds, plan, Shard(rank, world))
        sampler.set_epoch(epoch)
        shares.append(list(sampler))
        assert len(shares[-1]) == len(sampler)
        for batch in shares[-1]:
            longest = max(seconds[each.row] for each in batch)
            assert len(batch) <= size if budget is None else len(batch) * longest <= budget
    rows = [each.row for share in shares for batch in share for each in batch]
    assert set(rows) == set(range(len(seconds)))
    # Every batch has at least one utterance of every device, or else there are too few of them.
    assert len(rows) - len(seconds) < world * len(shares[0])
    assert world > 1 or len(rows) == len(seconds)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_uar_is_the_balanced_accuracy_of_scikit_learn(pairs):
    labels, predictions = np.array(pairs).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that were only predicted
        expected = balanced_accuracy_score(labels, predictions)
    assert abs(score(labels, predictions, list("abcde")).uar - expected) < 1e-9
