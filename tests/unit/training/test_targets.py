"""Soft labels, auxiliary tasks, logit adjustment and abstention have the effect of their sources."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from ser.config.model import LossKind, ModelConfig
from ser.errors import UserError
from ser.training.losses import EmotionLoss, class_frequencies
from ser.training.targets import AuxiliaryTasks, soften_labels

LABELS = ["sad", "happy", "angry"]


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_votes_become_distributions():
    utterances = table(
        emotion=["sad", "happy", "angry", "sad"],
        perceived=["sad", "happy:sad", "calm", ""],
        agreement=[0.8, 0.5, 0.0, np.nan],
    )
    expected = [[0.8, 0.1, 0.1], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]
    np.testing.assert_allclose(soften_labels(utterances, LABELS), expected, atol=1e-6)


def test_soft_labels_without_votes_are_an_error():
    with pytest.raises(UserError, match=r"model\.soft_labels"):
        soften_labels(table(emotion=["sad"], perceived=[""], agreement=[np.nan]), LABELS)


@pytest.mark.parametrize("options", [{}, {"loss": LossKind.focal}, {"label_smoothing": 0.2}])
def test_a_certain_distribution_has_the_loss_of_its_label(options):
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    loss = EmotionLoss(ModelConfig(**options), [1.0, 2.0, 0.5])
    certain = torch.nn.functional.one_hot(labels, 3).float()
    torch.testing.assert_close(loss(logits, certain), loss(logits, labels))


def test_the_loss_of_a_distribution_is_the_mean_over_its_labels():
    logits = torch.randn(1, 3)
    each = [cross_entropy(logits, torch.tensor([label])) for label in range(3)]
    expected = 0.5 * each[0] + 0.3 * each[1] + 0.2 * each[2]
    loss = EmotionLoss(ModelConfig())(logits, torch.tensor([[0.5, 0.3, 0.2]]))
    torch.testing.assert_close(loss, expected)


def test_logit_adjustment_gives_the_balanced_optimum():
    """Without features, the best plain logits are log frequencies; adjusted, all are equal."""
    labels = torch.tensor([0] * 8 + [1] * 1 + [2] * 1)
    names = [LABELS[label] for label in labels]
    frequencies = class_frequencies(LABELS, names)
    assert frequencies == [0.8, 0.1, 0.1]
    for strength, expected in ((0.0, frequencies), (1.0, [1 / 3] * 3)):
        logits = torch.zeros(3, requires_grad=True)
        loss = EmotionLoss(ModelConfig(logit_adjustment=strength), frequencies=frequencies)
        optimizer = torch.optim.LBFGS([logits], max_iter=100)

        def closure(logits=logits, loss=loss, optimizer=optimizer):
            optimizer.zero_grad()
            value = loss(logits.expand(10, 3), labels)
            value.backward()
            return value

        optimizer.step(closure)
        np.testing.assert_allclose(logits.detach().softmax(0), expected, atol=1e-3)


def tasks(adversarial: tuple[str, ...] = ()) -> AuxiliaryTasks:
    torch.manual_seed(0)
    utterances = table(gender=["female", "male", "", "female"], corpus=["a", "a", "b", "b"])
    return AuxiliaryTasks(4, utterances, {"gender": 0.5, "corpus": 2.0}, adversarial)


def test_auxiliary_losses_ignore_unknown_classes_and_are_weighted():
    auxiliary, features = tasks(), torch.randn(3, 4)
    losses = auxiliary(features, [3, 2, 1])
    logits = auxiliary.heads["gender"](features)[[0, 2]]  # row 2 has no gender
    torch.testing.assert_close(losses["gender"], cross_entropy(logits, torch.tensor([0, 1])))
    total = 0.5 * losses["gender"] + 2.0 * losses["corpus"]
    torch.testing.assert_close(auxiliary.total(losses), total)


def test_an_adversarial_task_reverses_the_gradient_of_the_features_only():
    gradients = []
    for adversarial in ((), ("gender",)):
        auxiliary, features = tasks(adversarial), torch.ones(2, 4, requires_grad=True)
        auxiliary(features, [0, 1])["gender"].backward()
        gradients.append((features.grad, auxiliary.heads["gender"].weight.grad))
    torch.testing.assert_close(gradients[1][0], -gradients[0][0])
    torch.testing.assert_close(gradients[1][1], gradients[0][1])
    assert gradients[0][0].abs().sum() > 0


@pytest.mark.parametrize(
    "options",
    [
        {"auxiliary": {"age": 1.0}},
        {"auxiliary": {"gender": 0.0}},
        {"adversarial": ["gender"]},
        {"auxiliary": {"gender": 1.0}, "mixup": 0.2},
        {"logit_adjustment": 1.0, "class_weights": "balanced"},
        {"abstain_error": 1.5},
    ],
)
def test_settings_that_do_not_go_together_are_errors(options):
    with pytest.raises(UserError, match=r"model\."):
        ModelConfig(**options)
