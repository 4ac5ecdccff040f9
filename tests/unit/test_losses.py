import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from ser.losses import EmotionLoss, mix, weigh_classes
from ser.model_config import LossKind, ModelConfig

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.2, 0.1], [-3.0, 1.0, 4.0]])
LABELS = torch.tensor([0, 2, 1])


def test_cross_entropy_is_that_of_torch_with_weights_and_smoothing():
    loss = EmotionLoss(ModelConfig(label_smoothing=0.2), [1.0, 2.0, 5.0])
    weights = torch.tensor([1.0, 2.0, 5.0])
    terms = cross_entropy(LOGITS, LABELS, weights, reduction="none", label_smoothing=0.2)
    torch.testing.assert_close(loss(LOGITS, LABELS), terms.mean())


def test_weights_count_as_much_in_batches_of_one():
    loss = EmotionLoss(ModelConfig(), [1.0, 2.0, 5.0])
    alone = [loss(LOGITS[row : row + 1], LABELS[row : row + 1]) for row in range(3)]
    torch.testing.assert_close(torch.stack(alone).mean(), loss(LOGITS, LABELS))
    assert alone[1].item() == pytest.approx(5 * cross_entropy(LOGITS[1:2], LABELS[1:2]).item())


def test_the_focal_loss_by_hand():
    chances = [np.exp(2) / (np.exp(2) + 1 + np.exp(-1)), 0.5]
    logits = torch.tensor([[2.0, 0.0, -1.0], [np.log(2), 0.0, 0.0]], dtype=torch.float32)
    loss = EmotionLoss(ModelConfig(loss=LossKind.focal, focal_gamma=3))
    terms = [-((1 - chance) ** 3) * np.log(chance) for chance in chances]
    assert loss(logits, torch.tensor([0, 0])).item() == pytest.approx(np.mean(terms), rel=1e-5)
    flat = EmotionLoss(ModelConfig(loss=LossKind.focal, focal_gamma=0))
    torch.testing.assert_close(flat(LOGITS, LABELS), cross_entropy(LOGITS, LABELS))


def test_a_batch_without_weight_has_a_finite_loss():
    loss = EmotionLoss(ModelConfig(), [0.0, 1.0, 0.0])
    assert loss(LOGITS[:1], LABELS[:1]).item() == 0


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    emotions = ["sad"] * 6 + ["happy"] * 2 + ["calm"]
    config = ModelConfig(class_weights="balanced")
    found = weigh_classes(config, ["happy", "sad", "calm"], emotions)
    expected = compute_class_weight(
        "balanced", classes=np.array(["happy", "sad", "calm"]), y=emotions
    )
    assert found == pytest.approx(expected.tolist())
    with_absent = weigh_classes(config, ["happy", "sad", "calm", "fear"], emotions)
    assert with_absent == pytest.approx([*expected, 1.0])


def test_weights_can_be_given_for_some_classes():
    config = ModelConfig(class_weights={"sad": 3})
    found = weigh_classes(config, ["happy", "sad"], ["happy", "happy", "happy", "sad"])
    assert found == pytest.approx([2 / 3, 2.0])  # 1 to 3, and 1 in the mean over utterances
    assert weigh_classes(ModelConfig(), ["happy", "sad"], []) is None


def test_weights_of_nothing_are_refused():
    config = ModelConfig(class_weights={"sad": 0, "happy": 1})
    with pytest.raises(ValueError, match="leaves no emotion"):
        weigh_classes(config, ["happy", "sad"], ["sad", "sad"])


def test_mixup_mixes_inputs_and_labels_alike():
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
