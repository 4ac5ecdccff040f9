"""A trained model as an ONNX file that runs in onnxruntime alone, normalisation included."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.errors import optional_dependency
from ser.export.hf_export import require_new, scaled_logits
from ser.export.onnx_graph import (
    fold_constants,
    make_mask_optional,
    name_dimensions,
    open_session,
    quantise,
    quiet,
)
from ser.inference.load import TrainedModel, load_trained
from ser.inference.parity import Clips, collect_clips, compare, require_parity
from ser.inference.predictor import Predictor
from ser.models.inputs import MIN_SAMPLES, normalize_batch, pad
from ser.system.atomic import writing_folder

OPSET = 18  # what the exporter of torch 2.9 and later is written for
# Names and places that transformers.js expects.
MODEL, QUANTISED = Path("onnx", "model.onnx"), Path("onnx", "model_quantized.onnx")

EXTRACTOR = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "sampling_rate": SAMPLE_RATE,
    "do_normalize": False,  # the network does
    "return_attention_mask": False,
}


class OnnxNetwork(nn.Module):
    """From waveforms at 16 kHz to logits and probabilities."""

    def __init__(self, model: TrainedModel, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = model.network, temperature
        self.normalizes = model.normalizes

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits over temperature, and probabilities (batch, classes) of waveforms (batch, time).

        Waveforms shorter than the network needs count as that long (see `ser.models.inputs.pad`).
        """
        waveforms, attention_mask = lengthen(input_values), lengthen(attention_mask)
        valid = attention_mask.to(waveforms.dtype)
        if self.normalizes:
            waveforms = normalize_batch(waveforms, valid)
        ends = attention_mask.sum(1, keepdim=True).clamp(min=MIN_SAMPLES)
        attended = (torch.arange(valid.shape[1])[None] < ends).to(attention_mask.dtype)
        output = self.network(waveforms * valid, attention_mask=attended)
        logits = output.logits / self.temperature
        return logits, logits.softmax(-1)


def lengthen(values: torch.Tensor) -> torch.Tensor:
    """Values (batch, time) followed by zeros up to MIN_SAMPLES."""
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
    """Write a folder with onnx/model.onnx; returns the result of the parity check by file.

    Batch and length are dynamic. Logits are divided by the temperature unless `raw`. With `int8`
    the matrix products of a second file are quantised dynamically. config.json and
    preprocessor_config.json are for transformers.js, labels.json is for other programs. Raises
    UserError if onnxruntime does not compute the logits of the checkpoint, or is not installed.
    """
    require_new(folder)
    require_onnx()
    model = load_trained(source)
    chosen = collect_clips(clips, Predictor(model, "cpu"), source)
    with writing_folder(folder) as draft:
        found = write_onnx(model, draft, chosen, raw=raw, int8=int8)
        write_json(draft / "config.json", describe_network(model))
        write_json(draft / "preprocessor_config.json", EXTRACTOR)
    return found


def write_onnx(
    model: TrainedModel,
    folder: Path,
    clips: Clips,
    *,
    raw: bool = False,
    int8: bool = False,
) -> dict[str, str]:
    """Write the ONNX files and labels.json into a folder, and compare them on clips."""
    require_onnx()
    model = model.uncalibrated() if raw else model
    predictor = Predictor(model, "cpu")
    network = OnnxNetwork(model, predictor.temperature).eval()
    (folder / MODEL).parent.mkdir()
    build_graphs(network, folder / MODEL, folder / QUANTISED if int8 else None)
    write_json(folder / "labels.json", describe_interface(model))
    found = {}
    for file in (MODEL, QUANTISED) if int8 else (MODEL,):
        parity = compare(
            scaled_logits(predictor), OnnxRunner(folder / file), clips.waveforms, clips.kind
        )
        require_parity(parity, file, int8=file == QUANTISED)
        found[str(file)] = str(parity)
    return found


def require_onnx() -> None:
    with optional_dependency("onnx"):
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401


def build_graphs(network: OnnxNetwork, path: Path, quantised: Path | None = None) -> None:
    """Write a network as an ONNX file, and, if there is a second path, its quantised version."""
    convert(network, path)
    fold_constants(path)
    if quantised is not None:
        quantise(path, quantised)
    for file in filter(None, (path, quantised)):
        name_dimensions(file)
        make_mask_optional(file)


def convert(network: OnnxNetwork, path: Path) -> None:
    """Trace and write the network, from two examples, one of them padded."""
    waveforms, mask = torch.randn(2, SAMPLE_RATE), torch.ones(2, SAMPLE_RATE, dtype=torch.long)
    mask[1, SAMPLE_RATE // 2 :] = 0
    both = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    # Fused attention kernels have another memory layout than the products that replace them in
    # the graph, in which a traced view of their output would be impossible.
    with quiet(), sdpa_kernel(SDPBackend.MATH):
        # Not strict: tracing byte code stops at the lock by which transformers 5 collects layers.
        program = torch.export.export(
            network, (waveforms * mask, mask), dynamic_shapes=(both, both), strict=False
        )
        torch.onnx.export(
            program,
            f=path,
            dynamo=True,
            opset_version=OPSET,
            input_names=["input_values", "attention_mask"],
            output_names=["logits", "probabilities"],
            external_data=False,
            verbose=False,
        )


def describe_network(model: TrainedModel) -> dict[str, Any]:
    """The content of config.json.

    transformers.js chooses its class by `model_type`, and has one for Wav2Vec2. The network itself
    may be of any family.
    """
    labels = dict(enumerate(model.labels))
    return {
        "model_type": "wav2vec2",
        "architectures": ["Wav2Vec2ForSequenceClassification"],
        "id2label": labels,
        "label2id": {label: index for index, label in labels.items()},
    }


def describe_interface(model: TrainedModel) -> dict[str, Any]:
    """The content of labels.json: what a program needs to know to use the ONNX file."""
    return {
        "labels": list(model.labels),
        "sample_rate": SAMPLE_RATE,
        "temperature": 1.0,
        "synthetic": model.synthetic,
        "inputs": {
            "input_values": "float32 (batch, samples), mono, right-padded with zeros",
            "attention_mask": "optional, int64 (batch, samples): 1 for samples, 0 for padding",
        },
        "outputs": {
            "logits": "float32 (batch, classes), divided by the temperature",
            "probabilities": "float32 (batch, classes): softmax of the logits",
        },
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class OnnxRunner:
    """Logits (batch, classes) of an ONNX file in onnxruntime."""

    def __init__(self, path: Path) -> None:
        self.session = open_session(path)

    def __call__(self, waveforms: Sequence[Waveform]) -> NDArray[np.float32]:
        values, mask = pad(waveforms)
        feed = {"input_values": values.numpy(), "attention_mask": mask.numpy()}
        outputs: Any = self.session.run(["logits"], feed)
        return outputs[0]
