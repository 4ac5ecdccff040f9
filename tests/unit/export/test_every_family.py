"""The ONNX graph of every family computes the logits of its network."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from ser.export.onnx_export import OnnxNetwork, OnnxRunner, build_graphs

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.mark.slow
def test_the_graph_has_the_logits_of_the_network(make_network, kind, tmp_path):
    network, path = make_network(kind).eval(), tmp_path / "model.onnx"
    model = cast(Any, SimpleNamespace(network=network, normalizes=False))
    build_graphs(OnnxNetwork(model, 1.0).eval(), path)
    run, generator = OnnxRunner(path), np.random.default_rng(0)
    for lengths in ([16_000], [9_000, 20_500], [12_345, 4_000, 30_000]):
        clips = [generator.normal(0, 0.1, length).astype(np.float32) for length in lengths]
        expected = []
        for clip in clips:  # one by one, without padding
            with torch.inference_mode():
                expected.append(network(torch.from_numpy(clip)[None]).logits.numpy())
        np.testing.assert_allclose(run(clips), np.concatenate(expected), atol=1e-3)
