"""Predictions of the service without HTTP."""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from served import write_noise

from ser.config.backbone import BackboneConfig
from ser.config.model import ModelConfig
from ser.corpora.emotions import LABELS
from ser.inference.load import TrainedModel
from ser.inference.predictor import Predictor
from ser.models.build import build_network
from ser.serving.limits import Limits
from ser.serving.service import Service

SECONDS = 2.0  # the longest input of the network


@pytest.fixture
def service():
    """A service that averages over two playback speeds, the lower of which doubles the length."""
    architecture = {
        "model_type": "whisper", "encoder_layers": 1, "d_model": 16, "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16, "classifier_proj_size": 8, "max_source_positions": 100,
    }  # fmt: skip
    backbone = BackboneConfig("tiny", pretrained=False, architecture=architecture)
    network = build_network(ModelConfig(backbone=backbone), LABELS).eval()
    model = TrainedModel("tiny", network, False, LABELS, None, SECONDS)
    service = Service(Predictor(model, "cpu", speeds=(0.5, 1.0)), Limits(), batch_size=4)
    yield service
    service.close()


def test_a_recording_is_cut_into_windows_that_fit_at_every_speed(service):
    assert service.model_info.whole_seconds == SECONDS / 2
    with ThreadPoolExecutor() as thread:  # the browser of other tests has a loop in this one
        predicted = service.predict(io.BytesIO(write_noise(SECONDS)), None)
        prediction = thread.submit(asyncio.run, predicted).result()
    assert [window.end for window in prediction.windows] == [SECONDS / 2, SECONDS]
