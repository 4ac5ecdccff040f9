"""Changes to ONNX files after the export."""

import numpy as np
import pytest

from ser.export.onnx_graph import open_session, quantise

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_products_before_a_logarithm_are_not_quantised(tmp_path):
    # A spectrum whose bands differ by eight orders of magnitude, and a product of its logarithm.
    power = np.logspace(0, -8, 32, dtype=np.float32)[None]
    filters = np.eye(32, dtype=np.float32)
    head = np.random.default_rng(0).normal(0, 1, (32, 4)).astype(np.float32)
    tensors = [onnx.numpy_helper.from_array(v, n) for n, v in (("filters", filters), ("head", head))]  # fmt: skip
    nodes = [
        onnx.helper.make_node("MatMul", ["power", "filters"], ["mel"], name="mel"),
        onnx.helper.make_node("Log", ["mel"], ["log"], name="log"),
        onnx.helper.make_node("MatMul", ["log", "head"], ["logits"], name="head"),
    ]
    kind = onnx.TensorProto.FLOAT
    values = [onnx.helper.make_tensor_value_info(n, kind, [1, s]) for n, s in (("power", 32), ("logits", 4))]  # fmt: skip
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "a")
    quantise(tmp_path / "a", tmp_path / "b")
    kinds = [node.op_type for node in onnx.load(tmp_path / "b").graph.node]
    assert "MatMul" in kinds
    assert "MatMulInteger" in kinds
    [found] = open_session(tmp_path / "b").run(["logits"], {"power": power})
    np.testing.assert_allclose(found, np.log(power) @ head, atol=1.0)  # of values up to 40
