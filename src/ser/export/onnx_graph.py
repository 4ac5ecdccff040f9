"""Changes to an ONNX file after the export: constants, quantisation, names, an optional mask."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

DIMENSIONS = ("batch", "samples")
MASK, FULL_MASK = "attention_mask", "full_attention_mask"


def fold_constants(path: Path) -> None:
    """Compute constant parts once, such as weights that the graph transposes.

    Quantisation only covers matrix products whose weights are constants. The optimisations of
    this level are the same on every processor.
    """
    import onnxruntime

    open_session(
        path.read_bytes(),
        graph_optimization_level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        optimized_model_filepath=str(path),
    )


def open_session(model: Path | bytes, **settings: Any) -> Any:
    """An InferenceSession on the CPU; `settings` are attributes of SessionOptions.

    Warnings are not printed: onnxruntime warns that the attention mask, an input with a default,
    is not a constant.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    for name, value in settings.items():
        setattr(options, name, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def quantise(source: Path, target: Path) -> None:
    """Write a file whose matrix products have 8-bit weights, with one scale per channel.

    The products of a log-mel spectrogram stay in float32: a spectrum spans many orders of
    magnitude, of which 8 bits keep the largest values alone.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            reduce_range=True,  # 7 bits, or processors without VNNI overflow 16-bit sums
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=find_before_logarithms(source),
            extra_options={"DefaultTensorType": 1},  # float, if inference finds no type
        )


def find_before_logarithms(path: Path) -> list[str]:
    """The names of all nodes on whose results a logarithm depends."""
    import onnx

    graph = onnx.load(path).graph
    sources = {name: node for node in graph.node for name in node.output}
    waiting = [name for node in graph.node if node.op_type == "Log" for name in node.input]
    found: dict[str, Any] = {}
    while waiting:
        node = sources.get(waiting.pop())
        if node is not None and node.name not in found:
            found[node.name] = node
            waiting += node.input
    return list(found)


def name_dimensions(path: Path) -> None:
    """Call the dynamic dimensions of the inputs and outputs `batch` and `samples`."""
    import onnx

    model = onnx.load(path)
    names: dict[str, str] = {}
    for given in model.graph.input:
        for dimension, name in zip(given.type.tensor_type.shape.dim, DIMENSIONS, strict=True):
            names.setdefault(dimension.dim_param, name)
            dimension.dim_param = name
    for value in (*model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in names:
                dimension.dim_param = names[dimension.dim_param]
    onnx.save(model, path)


def make_mask_optional(path: Path) -> None:
    """Let the mask be absent, which means that nothing is padded.

    An input with a default value is optional. The default is a single 1, which is expanded to the
    shape of the waveforms; a given mask has that shape already.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == MASK:
                node.input[place] = FULL_MASK
    [mask] = [given for given in graph.input if given.name == MASK]
    for dimension, name in zip(mask.type.tensor_type.shape.dim, DIMENSIONS, strict=True):
        dimension.dim_param = f"mask_{name}"  # 1 by default
    graph.initializer.append(numpy_helper.from_array(np.ones((1, 1), np.int64), MASK))
    shape = helper.make_node("Shape", ["input_values"], ["input_shape"])
    expand = helper.make_node("Expand", [MASK, "input_shape"], [FULL_MASK])
    for place, node in enumerate((shape, expand)):
        graph.node.insert(place, node)
    onnx.save(model, path)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the messages of torch 2.13 and onnxruntime 1.32 about their internals."""
    stream: Any = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(stream), redirect_stderr(stream):
        warnings.simplefilter("ignore")
        former = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(former)
