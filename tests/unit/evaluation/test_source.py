"""Labels of a classifier from elsewhere are mapped to those of a run."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from ser.errors import UserError
from ser.evaluation.source import map_labels
from ser.inference.load import TrainedModel

OURS = ("sad", "happy", "calm", "angry")


class Constant(nn.Module):
    """A classifier whose logits are its input."""

    def forward(self, input_values, attention_mask=None):
        return SequenceClassifierOutput(logits=input_values)


def theirs(*labels: str) -> TrainedModel:
    network: Any = Constant()
    return TrainedModel("theirs", network, True, labels, 2.0, 30.0)


def test_probabilities_of_labels_with_the_same_emotion_are_added():
    model = theirs("Sad", "joy", "excited", "other", "ang")
    mapped = map_labels(
        model, OURS, {"joy": "happy", "excited": "happy", "other": None, "ang": "angry"}
    )
    assert mapped.labels == OURS
    assert mapped.temperature is None
    logits = torch.tensor([[1.0, 0.5, -1.0, 3.0, 0.2]])
    found = softmax(mapped.network(logits).logits.numpy(), axis=1)[0]
    each = softmax(logits.numpy()[0])
    expected = np.array([each[0], each[1] + each[2], 0.0, each[4]])
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-6)


@pytest.mark.parametrize(
    "label_map", [{}, {"joy": "glad"}, {"missing": "sad", "joy": "happy"}, {"joy": ""}]
)
def test_labels_that_cannot_be_mapped_are_an_error(label_map):
    with pytest.raises(UserError, match="label_map"):
        map_labels(theirs("sad", "joy"), OURS, label_map)
