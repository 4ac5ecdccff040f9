"""Standardisation by group, compared with formulas that are written out."""

import numpy as np
import pytest

from ser.models.pooling import FeatureScaler
from ser.models.standardization import PRIOR_CLIPS, Standardization, Statistics


@pytest.fixture
def speakers() -> tuple[np.ndarray, np.ndarray]:
    """Features (60, 4) of five speakers with means and scales of their own."""
    generator = np.random.default_rng(0)
    names = np.repeat([f"s{number}" for number in range(5)], [20, 10, 10, 15, 5])
    shift = generator.normal(0, 3, (5, 4))[np.array([int(name[1]) for name in names])]
    return generator.normal(1, 2, (60, 4)) + shift, names


def test_statistics_are_the_mean_and_the_sum_of_squared_deviations(speakers):
    features = speakers[0]
    found = Statistics.of(features.astype(np.float32))
    assert found.count == 60
    np.testing.assert_allclose(found.mean, [sum(column) / 60 for column in features.T], rtol=1e-5)
    np.testing.assert_allclose(found.squares, 60 * np.var(features, axis=0), rtol=1e-5)


def test_fit_is_the_one_way_analysis_of_variance(speakers):
    features, names = speakers
    found = Standardization.fit(features, names.tolist())
    means = [features[names == name].mean(axis=0) for name in np.unique(names)]
    within = sum(
        ((features[names == name] - features[names == name].mean(axis=0)) ** 2).sum(axis=0)
        for name in np.unique(names)
    ) / (60 - 5)
    np.testing.assert_allclose(found.mean, np.mean(means, axis=0))
    np.testing.assert_allclose(found.scale**2, within)
    np.testing.assert_allclose(found.spread * within, np.cov(np.stack(means).T).diagonal())
    assert found.adapts


def test_adapt_is_the_posterior_mean_of_a_normal_prior(speakers):
    common = Standardization.fit(speakers[0], speakers[1].tolist())
    clips = np.random.default_rng(1).normal(4, 1, (3, 4))
    adapted = common.adapt(Statistics.of(clips))
    within, between = common.scale**2, common.spread * common.scale**2
    distance = ((clips.mean(axis=0) - common.mean) ** 2 / within).mean() - 1 / 3
    between = between * max(1, distance / common.spread.mean())
    precision = 1 / between + 3 / within
    expected = (common.mean / between + clips.sum(axis=0) / within) / precision
    np.testing.assert_allclose(adapted.mean, expected)
    pooled = (2 * clips.var(axis=0, ddof=1) + PRIOR_CLIPS * within) / (2 + PRIOR_CLIPS)
    np.testing.assert_allclose(adapted.scale**2, pooled)


def test_many_clips_give_the_statistics_of_the_speaker(speakers):
    common = Standardization.fit(speakers[0], speakers[1].tolist())
    clips = np.random.default_rng(1).normal(9, 5, (100_000, 4))
    scaled = common.adapt(Statistics.of(clips)).apply(clips)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-2)


def test_one_clip_keeps_the_scale_and_moves_the_mean_part_of_the_way(speakers):
    common = Standardization.fit(speakers[0], speakers[1].tolist())
    clip = common.mean + 10
    adapted = common.adapt(Statistics.of(clip[None]))
    np.testing.assert_allclose(adapted.scale, common.scale)
    assert ((adapted.mean > common.mean) & (adapted.mean < clip)).all()


def test_few_clips_move_the_mean_further_for_a_speaker_who_is_far_away(speakers):
    common = Standardization.fit(speakers[0], speakers[1].tolist())

    def share(shift: float) -> np.ndarray:
        adapted = common.adapt(Statistics.of((common.mean + shift * common.scale)[None]))
        return (adapted.mean - common.mean) / (shift * common.scale)

    near, far = share(0.1), share(50.0)
    np.testing.assert_allclose(near, common.spread / (1 + common.spread))
    assert (far > near).all()
    assert (far > 0.99).all()


def test_constant_features_stay_finite():
    features = np.ones((6, 2))
    found = Standardization.fit(features, ["a", "a", "b", "b", "c", "c"])
    adapted = found.adapt(Statistics.of(features[:1]))
    assert not found.adapts
    assert np.isfinite(adapted.apply(features)).all()
    assert np.isfinite(found.apply_by_group(features, ["a"] * 6)).all()


@pytest.mark.parametrize("groups", [["a"] * 60, [""] * 60])
def test_one_group_or_unknown_groups_cannot_be_adapted(speakers, groups):
    features = speakers[0]
    found = Standardization.fit(features, groups)
    assert not found.adapts
    adapted = found.adapt(Statistics.of(features[:10] + 5))
    np.testing.assert_allclose(adapted.mean, found.mean)


def test_unknown_speakers_neither_count_nor_are_adapted(speakers):
    features, names = speakers
    known = Standardization.fit(features[:55], names[:55].tolist())
    groups = ["" if name == "s4" else name for name in names.tolist()]
    found = Standardization.fit(features, groups)
    np.testing.assert_allclose(found.mean, known.mean)
    scaled = found.apply_by_group(features, groups)
    np.testing.assert_allclose(scaled[55:], found.apply(features[55:]))


def test_apply_by_group_does_not_depend_on_the_order(speakers):
    features, names = speakers
    found = Standardization.fit(features, names.tolist())
    order = np.random.default_rng(2).permutation(60)
    scaled = found.apply_by_group(features, names.tolist())
    shuffled = found.apply_by_group(features[order], names[order].tolist())
    np.testing.assert_allclose(shuffled, scaled[order])
    for name in np.unique(names):
        alone = found.adapt(Statistics.of(features[names == name])).apply(features[names == name])
        np.testing.assert_allclose(scaled[names == name], alone)


def test_statistics_of_no_clip_are_an_error():
    with pytest.raises(ValueError, match="at least one"):
        Statistics.of(np.empty((0, 3)))


def test_a_scaler_stores_a_standardization(speakers):
    found = Standardization.fit(speakers[0], speakers[1].tolist())
    scaler, plain = FeatureScaler(4, adaptable=True), FeatureScaler(4)
    scaler.standardization = plain.standardization = found
    for name in ("mean", "scale", "spread"):
        values = getattr(scaler.standardization, name)
        np.testing.assert_allclose(values, getattr(found, name), rtol=1e-6)
    assert set(plain.state_dict()) == {"mean", "scale"}  # of earlier versions
    assert not plain.standardization.adapts
