import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from ser.config.model import LossKind, ModelConfig
from ser.errors import UserError
from ser.models.families.base import PADDING, SILENCE, SPEECH
from ser.training.losses import EmotionLoss, compute_class_weights, mix

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.2, 0.1], [-3.0, 1.0, 4.0]])
LABELS = torch.tensor([0, 2, 1])


def test_without_weights_it_is_the_cross_entropy_of_torch():
    loss = EmotionLoss(ModelConfig(label_smoothing=0.2))
    expected = cross_entropy(LOGITS, LABELS, label_smoothing=0.2)
    torch.testing.assert_close(loss(LOGITS, LABELS), expected)


def test_a_class_weight_multiplies_the_whole_loss_of_an_utterance():
    """By hand: smoothing spreads 0.2 over the three classes, whatever their weights."""
    weights = np.array([1.0, 2.0, 5.0])
    logits = LOGITS.numpy().astype(float)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = np.full((3, 3), 0.2 / 3)
    targets[range(3), LABELS] += 0.8
    expected = (weights[LABELS] * -(targets * logs).sum(1)).mean()
    loss = EmotionLoss(ModelConfig(label_smoothing=0.2), weights.tolist())
    assert loss(LOGITS, LABELS).item() == pytest.approx(expected, rel=1e-5)


def test_a_rare_class_does_not_get_the_smoothing_of_the_others():
    """The best logits for an utterance do not depend on the weights of other classes."""
    config, logits = ModelConfig(label_smoothing=0.2), torch.zeros(1, 3, requires_grad=True)
    gradients = []
    for weights in ([1.0, 1.0, 1.0], [1.0, 1.0, 100.0]):
        loss = EmotionLoss(config, weights)(logits, torch.tensor([0]))
        gradients.append(torch.autograd.grad(loss, logits)[0])
    torch.testing.assert_close(*gradients)


def test_weights_have_the_same_effect_in_batches_of_one():
    loss = EmotionLoss(ModelConfig(), [1.0, 2.0, 5.0])
    alone = [loss(LOGITS[row : row + 1], LABELS[row : row + 1]) for row in range(3)]
    torch.testing.assert_close(torch.stack(alone).mean(), loss(LOGITS, LABELS))
    assert alone[1].item() == pytest.approx(5 * cross_entropy(LOGITS[1:2], LABELS[1:2]).item())


def test_the_focal_loss():
    chances = [np.exp(2) / (np.exp(2) + 1 + np.exp(-1)), 0.5]
    logits = torch.tensor([[2.0, 0.0, -1.0], [np.log(2), 0.0, 0.0]], dtype=torch.float32)
    loss = EmotionLoss(ModelConfig(loss=LossKind.focal, focal_gamma=3))
    terms = [-((1 - chance) ** 3) * np.log(chance) for chance in chances]
    assert loss(logits, torch.tensor([0, 0])).item() == pytest.approx(np.mean(terms), rel=1e-5)
    flat = EmotionLoss(ModelConfig(loss=LossKind.focal, focal_gamma=0))
    torch.testing.assert_close(flat(LOGITS, LABELS), cross_entropy(LOGITS, LABELS))


def test_a_batch_of_classes_with_weight_zero_has_a_finite_loss():
    loss = EmotionLoss(ModelConfig(), [0.0, 1.0, 0.0])
    assert loss(LOGITS[:1], LABELS[:1]).item() == 0


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    emotions = ["sad"] * 6 + ["happy"] * 2 + ["calm"]
    config = ModelConfig(class_weights="balanced")
    found = compute_class_weights(config, ["happy", "sad", "calm"], emotions)
    expected = compute_class_weight(
        "balanced", classes=np.array(["happy", "sad", "calm"]), y=emotions
    )
    assert found == pytest.approx(expected.tolist())
    with_absent = compute_class_weights(config, ["happy", "sad", "calm", "fear"], emotions)
    assert with_absent == pytest.approx([*expected, 1.0])


def test_weights_can_be_given_for_some_classes():
    config = ModelConfig(class_weights={"sad": 3})
    found = compute_class_weights(config, ["happy", "sad"], ["happy", "happy", "happy", "sad"])
    assert found == pytest.approx([2 / 3, 2.0])  # 1 to 3, and 1 in the mean over utterances
    assert compute_class_weights(ModelConfig(), ["happy", "sad"], []) is None


def test_weights_of_zero_for_all_classes_are_an_error():
    config = ModelConfig(class_weights={"sad": 0, "happy": 1})
    with pytest.raises(UserError, match=r"model\.class_weights"):
        compute_class_weights(config, ["happy", "sad"], ["sad", "sad"])


def test_mixup_mixes_inputs_and_labels_in_the_same_shares():
    inputs, mask = torch.eye(4)[:, :3] + 1, torch.tensor([[1, 1, 0]] * 3 + [[1, 0, 0]])
    mixture = mix(inputs, mask, 0.4, np.random.default_rng(1))
    share, partners = mixture.share, mixture.partners
    assert 0 < share < 1
    assert sorted(partners.tolist()) == [0, 1, 2, 3] != partners.tolist()
    for row, partner in enumerate(partners.tolist()):
        expected = share * inputs[row] + (1 - share) * inputs[partner]
        torch.testing.assert_close(mixture.inputs[row], expected)
        assert mixture.mask[row].tolist() == torch.maximum(mask[row], mask[partner]).tolist()
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    expected = share * cross_entropy(logits, labels)
    expected += (1 - share) * cross_entropy(logits, labels[partners])
    torch.testing.assert_close(mixture.loss(EmotionLoss(ModelConfig()), logits, labels), expected)


def test_a_mixed_frame_is_speech_if_one_of_the_two_is():
    """Silence after a clip must not hide the speech of the other one."""
    mask = torch.tensor([[SPEECH, SILENCE, SILENCE, PADDING], [SPEECH, SPEECH, PADDING, PADDING]])
    generator = np.random.default_rng(0)
    while True:
        mixture = mix(torch.zeros(2, 4), mask, 0.4, generator)
        if mixture.partners.tolist() == [1, 0]:
            break
    assert mixture.mask.tolist() == [[SPEECH, SPEECH, SILENCE, PADDING]] * 2
