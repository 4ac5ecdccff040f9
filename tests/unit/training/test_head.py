"""Fitted linear heads, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ser.config.model import HeadFit
from ser.training.head import Candidate, cross_validate, list_candidates, select

CLASSES, SIZE = 3, 5


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Features (2 copies, 60, 2 blocks of 5) and labels (60,)."""
    generator = np.random.default_rng(0)
    labels = np.arange(60) % CLASSES
    centres = generator.normal(size=(CLASSES, 2 * SIZE))
    return centres[labels] + generator.normal(size=(2, 60, 2 * SIZE)), labels


def lda(features: np.ndarray, labels: np.ndarray) -> LinearDiscriminantAnalysis:
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return model.fit(features, labels)


def test_a_head_on_several_layers_averages_the_logits_of_one_head_per_layer(drawn):
    features, labels = drawn[0][0], drawn[1]
    scaled = (features - features.mean(0)) / features.std(0)
    parts = [scaled[:, :SIZE], scaled[:, SIZE:]]
    expected = sum(lda(part, labels).decision_function(part) for part in parts) / 2
    head = Candidate(HeadFit.lda).fit(features, labels, blocks=2)
    found = (features - head.mean) / head.scale @ head.weight.T + head.bias
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_copies_are_fitted_together_and_their_logits_averaged(drawn):
    features, labels = drawn
    together = np.concatenate(list(features))
    mean, scale = together.mean(0), together.std(0)
    model = lda((together - mean) / scale, np.concatenate([labels, labels]))
    logits = [model.decision_function((copy - mean) / scale) for copy in features]
    head = Candidate(HeadFit.lda).fit_copies(features, labels)
    assert head.predict(features).tolist() == np.mean(logits, axis=0).argmax(1).tolist()


@pytest.mark.parametrize("kind", [HeadFit.lda, HeadFit.logistic])
def test_class_weights_move_the_border_between_classes(kind):
    """One feature with variance 1 and class means 0 and 2: equal priors put the border at 1."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [9_000, 1_000])
    features = (generator.normal(size=10_000) + 2 * labels)[:, None]

    def find_border(weights: tuple[float, ...] | None) -> float:
        head = Candidate(kind, 1.0, weights).fit(features, labels)
        [slope, bias] = head.weight[1] - head.weight[0], head.bias[1] - head.bias[0]
        return float((head.mean - head.scale * bias / slope)[0])

    assert find_border((1 / 9, 1.0)) == pytest.approx(1, abs=0.05)
    assert find_border(None) == pytest.approx(1 + np.log(9) / 2, abs=0.05)


def test_balanced_weights_are_those_of_the_training_part(compose_config):
    settings = ("model=linear", "model.class_weights=balanced", "data.labels=[happy,sad]")
    found = list_candidates(compose_config(*settings), np.array([0, 0, 0, 1]))
    assert {each.kind for each in found} == {HeadFit.logistic, HeadFit.lda}
    for each in found:
        assert each.weights == pytest.approx((2 / 3, 2))


def test_the_copies_of_an_utterance_are_never_on_both_sides_of_cross_validation():
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(1, 60, 40))
    labels = generator.permutation(np.arange(60) % CLASSES)
    copies = np.repeat(noise, 3, axis=0)
    logits = cross_validate(copies, labels, [""] * 60, [Candidate(HeadFit.logistic, 1.0)])
    choice = select(logits, labels)
    assert choice.score < 0.6  # with copies on both sides it is 1.0
