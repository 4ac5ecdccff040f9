"""Export a trained model as a Hugging Face folder, and upload it."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
from transformers.utils import logging

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.config.model import Pooling
from ser.errors import UserError, first_line
from ser.inference.load import CONFIG, OURS, TrainedModel, find_checkpoint, load_trained
from ser.inference.parity import collect_clips, compare, require_parity
from ser.inference.predictor import Predictor
from ser.models.network import EmotionNetwork
from ser.reports.model_card import write_model_card
from ser.system.atomic import writing_folder
from ser.system.files import compute_checksum

WEIGHTS = "model.safetensors"
OURS_ONLY = (
    "for ser.Predictor, which gives the same logits; {name} of transformers does not, because it"
    " does not mask padding: use onnx/model.onnx in other programs"
)


def export_hugging_face(
    source: str, folder: Path, clips: Sequence[str] = (), *, raw: bool = False
) -> dict[str, str]:
    """Write a folder that `transformers.pipeline` loads; return the parity of each file.

    Low-rank adapters are merged. The classifier is divided by the temperature, so the pipeline
    returns calibrated probabilities, unless `raw`. If the class of transformers does not mask
    padding (as for Whisper), the folder is for `Predictor`, and holds an ONNX model for other
    programs. Raises UserError for settings that no class of transformers computes, and if the
    folder, loaded again, does not give the logits of the checkpoint.
    """
    logging.disable_progress_bar()
    require_new(folder)
    model = load_trained(source)
    if not isinstance(model.network, EmotionNetwork):
        raise UserError(f"{source} is an ensemble: export it with --to onnx, or export its members")
    portable = model.network.family.masks_padding_elsewhere
    if portable:
        refuse_ours(model.network, source)
    with writing_folder(folder) as draft:
        predictor = Predictor(model, "cpu", raw=raw)
        save(model, draft, predictor.temperature)
        write_card(source, draft, calibrated=not raw)
        chosen = collect_clips(clips, predictor, source)
        run = (
            TransformersRunner(draft) if portable else Predictor(load_trained(draft), "cpu").logits
        )
        parity = compare(scaled_logits(predictor), run, chosen.waveforms, chosen.kind)
        require_parity(parity, f"the export of {source}")
        if portable:
            return {WEIGHTS: str(parity)}
        from ser.export.onnx_export import write_onnx  # it imports this module

        onnx = write_onnx(model, draft, chosen, raw=raw)
    return {WEIGHTS: OURS_ONLY.format(name=type(model.network).__name__), **onnx}


def save(model: TrainedModel, folder: Path, temperature: float) -> None:
    """Write weights, configuration and feature extractor in the layout of Hugging Face.

    The logits of the written model are divided by the temperature.
    """
    model.network.config.architectures = None  # the class writes its own name
    setattr(model.network.config, OURS, describe_model(model, temperature))
    weights = divide_classifier(model.network.state_dict(), temperature)
    with reporting_full_disk():
        model.network.save_pretrained(folder, state_dict=weights)
    model.feature_extractor.save_pretrained(folder)
    file = folder / CONFIG
    content = json.loads(file.read_text(encoding="utf-8"))
    content[OURS]["checksums"] = {
        path.name: compute_checksum(path) for path in sorted(folder.glob("*.safetensors"))
    }
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextmanager
def reporting_full_disk() -> Iterator[None]:
    """Raise the OSError behind an error of safetensors, which has its number in the text only."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def describe_model(model: TrainedModel, temperature: float) -> dict[str, Any]:
    """Settings unknown to transformers; the temperature is what is left to divide by."""
    return {
        "temperature": None if model.temperature is None else model.temperature / temperature,
        "max_seconds": model.max_seconds,
        "synthetic": model.synthetic,
        "threshold": model.threshold,
        "parity": None if model.parity is None else asdict(model.parity),
    }


def divide_classifier(
    weights: dict[str, torch.Tensor], temperature: float
) -> dict[str, torch.Tensor]:
    """Weights of a network whose logits are divided by the temperature."""
    names = ("classifier.weight", "classifier.bias")
    return weights | {name: weights[name] / temperature for name in names}


def scaled_logits(predictor: Predictor) -> Any:
    """A function from waveforms to the logits of a predictor, divided by its temperature."""
    return lambda waveforms: predictor.logits(waveforms) / np.float32(predictor.temperature)


def refuse_ours(network: EmotionNetwork, source: str) -> None:
    """Raise UserError for a setting that no class of transformers computes."""
    settings = network.config.to_dict()  # of an old checkpoint, without ours
    pooling = settings.get("pooling", Pooling.mean)
    ours = {
        f"model.pooling={pooling}": pooling != Pooling.mean,
        "model.projector=false": not settings.get("use_projector", True),
        "model.standardize": settings.get("standardize", False),
        "model.join_layers": bool(settings.get("join_layers")),
    }
    if used := [name for name, is_used in ours.items() if is_used]:
        raise UserError(
            f"{source} has {used[0]}, which no class of transformers computes: export it with"
            " --to onnx, or train without it"
        )


def write_card(source: str, folder: Path, *, calibrated: bool) -> None:
    """Write the model card of a checkpoint, or copy that of an exported folder."""
    checkpoint, card = find_checkpoint(source), Path(source, "README.md")
    if checkpoint is not None:
        write_model_card(checkpoint, folder, calibrated=calibrated)
    elif card.is_file():
        shutil.copy(card, folder)


class TransformersRunner:
    """A folder as transformers alone loads and runs it."""

    def __init__(self, folder: Path) -> None:
        self.extractor: Any = AutoFeatureExtractor.from_pretrained(folder)
        self.network = AutoModelForAudioClassification.from_pretrained(folder).eval()
        norm = getattr(self.network.config, "feat_extract_norm", "layer")
        self.together = norm != "group"  # else padding would change the result

    def __call__(self, waveforms: Sequence[Waveform]) -> NDArray[np.float32]:
        batches = [list(waveforms)] if self.together else [[each] for each in waveforms]
        return np.concatenate([self.run(batch) for batch in batches])

    def run(self, batch: list[Waveform]) -> NDArray[np.float32]:
        inputs = self.extractor(
            batch,
            sampling_rate=SAMPLE_RATE,
            padding=True,
            return_attention_mask=self.together,
            return_tensors="pt",
        )
        with torch.inference_mode():
            return self.network(**inputs).logits.numpy()


def require_new(folder: Path) -> None:
    """Raise UserError if the folder exists."""
    if folder.exists():
        raise UserError(f"--output={folder} exists: name a new folder, or remove it first")


def require_token() -> None:
    """Raise UserError without a token for the hub."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise UserError("--push needs a token: run `hf auth login`, or set HF_TOKEN")


def push(folder: Path, repository: str) -> str:
    """Upload a folder to OWNER/NAME on the hub, private if it is new; return its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        hub = HfApi()
        address = hub.create_repo(repository, private=True, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = first_line(error)
        raise UserError(f"--push={repository} failed, the folder is kept: {reason}") from error
    return str(address)
