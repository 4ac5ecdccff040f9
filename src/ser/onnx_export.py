"""A trained model as an ONNX file that runs in onnxruntime alone, normalisation included."""

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ser.audio import SAMPLE_RATE, Waveform
from ser.batch import MIN_SAMPLES, pad
from ser.export import new_folder, write_labels
from ser.parity import collect_clips, compare, require_parity
from ser.predict import Predictor
from ser.trained import TrainedModel, load_trained

OPSET = 18  # what the exporter of torch 2.9 and later is written for
MODEL, WHOLE_NUMBERS = "model.onnx", "model_int8.onnx"


class OnnxNetwork(nn.Module):
    """From waveforms as recorded to logits and probabilities."""

    def __init__(self, model: TrainedModel, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = model.network, temperature
        self.normalises = bool(model.feature_extractor.do_normalize)

    def forward(
        self, waveforms: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and probabilities (batch, classes) of waveforms (batch, time) at 16 kHz."""
        # As `ser.batch.pad` does: what is shorter than the network needs counts as so long.
        waveforms, attention_mask = lengthen(waveforms), lengthen(attention_mask)
        valid = attention_mask.to(waveforms.dtype)
        if self.normalises:  # each on its own, as Wav2Vec2FeatureExtractor does
            count = valid.sum(1, keepdim=True)
            centred = waveforms - (waveforms * valid).sum(1, keepdim=True) / count
            variance = (centred.square() * valid).sum(1, keepdim=True) / count
            waveforms = centred * torch.rsqrt(variance + 1e-7)
        ends = attention_mask.sum(1, keepdim=True).clamp(min=MIN_SAMPLES)
        heard = (torch.arange(valid.shape[1])[None] < ends).to(attention_mask.dtype)
        logits = self.network(waveforms * valid, attention_mask=heard).logits
        return logits, (logits / self.temperature).softmax(-1)


def lengthen(values: torch.Tensor) -> torch.Tensor:
    """Values (batch, time) with zeros behind, where there are fewer than MIN_SAMPLES."""
    missing: Any = torch.sym_max(MIN_SAMPLES - values.shape[1], 0)
    return torch.cat([values, values.new_zeros(values.shape[0], missing)], 1)


def export_onnx(
    source: str,
    folder: Path,
    clips: Sequence[str] = (),
    *,
    raw: bool = False,
    int8: bool = False,
) -> dict[str, str]:
    """Write a folder with model.onnx and labels.json; what the parity check found, by file.

    Batch and length are dynamic. The temperature is inside unless `raw`. With `int8` a second
    file has its matrix products in whole numbers (dynamic quantisation). Raises ValueError where
    onnxruntime does not give the logits of the checkpoint, OSError without onnx.
    """
    require_onnx()
    model = load_trained(source)
    predictor = Predictor(model, "cpu", raw=raw)
    network = OnnxNetwork(model, predictor.temperature).eval()
    chosen = collect_clips(clips, predictor)
    with new_folder(folder) as draft:
        convert(network, draft / MODEL)
        write_labels(model, predictor.temperature, draft)
        if int8:
            quantise(draft / MODEL, draft / WHOLE_NUMBERS)
        found = {}
        for file in sorted(draft.glob("*.onnx")):
            parity = compare(predictor.logits, OnnxJudge(file), chosen)
            require_parity(parity, file.name, whole_numbers=file.name == WHOLE_NUMBERS)
            found[file.name] = str(parity)
    return found


def require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise OSError("--to=onnx needs `pip install 'ser[onnx]'`") from error


def convert(network: OnnxNetwork, path: Path) -> None:
    """Trace and write the network; two examples, one of them padded, stand for any batch."""
    waveforms, mask = torch.randn(2, SAMPLE_RATE), torch.ones(2, SAMPLE_RATE, dtype=torch.long)
    mask[1, SAMPLE_RATE // 2 :] = 0
    both = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with quiet():
        # Not strict: tracing byte code stops at the lock by which transformers 5 collects layers.
        program = torch.export.export(
            network, (waveforms * mask, mask), dynamic_shapes=(both, both), strict=False
        )
        torch.onnx.export(
            program,
            f=path,
            dynamo=True,
            opset_version=OPSET,
            input_names=["waveforms", "attention_mask"],
            output_names=["logits", "probabilities"],
            external_data=False,
            verbose=False,
        )


def quantise(source: Path, target: Path) -> None:
    """Weights of matrix products as 8-bit whole numbers, one scale a channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": 1},  # float, where inference finds no type
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Without the pages that torch 2.13 and onnxruntime 1.32 tell about their innards."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


class OnnxJudge:
    """An ONNX file as onnxruntime alone runs it."""

    def __init__(self, path: Path) -> None:
        from onnxruntime import InferenceSession

        self.session = InferenceSession(path, providers=["CPUExecutionProvider"])

    def __call__(self, waveforms: Sequence[Waveform]) -> NDArray[np.float32]:
        values, mask = pad(waveforms)
        feed = {"waveforms": values.numpy(), "attention_mask": mask.numpy()}
        outputs: Any = self.session.run(["logits"], feed)
        return outputs[0]
