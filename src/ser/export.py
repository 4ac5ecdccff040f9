"""A trained model in the forms that others use: a Hugging Face folder, or ONNX."""

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
from transformers.utils import logging

from ser.audio import SAMPLE_RATE, Waveform
from ser.modelcard import write_model_card
from ser.parity import collect_clips, compare, require_parity
from ser.predict import Predictor
from ser.trained import OURS, TrainedModel, find_checkpoint, load_trained

KEPT = ("temperature", "max_seconds", "synthetic")  # what transformers has no name for


def export_hugging_face(source: str, folder: Path, clips: Sequence[str] = ()) -> str:
    """Write a folder that `transformers.pipeline` loads; what the parity check found.

    Low-rank adapters are merged. Raises ValueError for what no class of transformers computes,
    and where the folder, loaded by transformers, does not give the logits of the checkpoint.
    """
    logging.disable_progress_bar()
    model = load_trained(source)
    pooling = getattr(model.network.config, "pooling", "mean")
    if pooling != "mean":
        raise ValueError(
            f"{source} has model.pooling={pooling}, which no class of transformers computes:"
            " export it with --to onnx, or train with model.pooling=mean"
        )
    with new_folder(folder) as draft:
        model.network.config.architectures = None  # the class writes its own name
        settings = {name: getattr(model, name) for name in KEPT}
        setattr(model.network.config, OURS, settings)
        model.network.save_pretrained(draft)
        model.feature_extractor.save_pretrained(draft)
        write_card(source, draft)
        predictor = Predictor(model, "cpu")
        chosen = collect_clips(clips, predictor)
        parity = compare(predictor.logits, TransformersJudge(draft), chosen)
        require_parity(parity, f"the export of {source}")
    return str(parity)


def write_card(source: str, folder: Path) -> None:
    """The model card of a checkpoint, or that of the exported folder it is made of."""
    checkpoint, card = find_checkpoint(source), Path(source, "README.md")
    if checkpoint is not None:
        write_model_card(checkpoint, folder)
    elif card.is_file():
        shutil.copy(card, folder)


class TransformersJudge:
    """A folder as transformers alone loads and runs it."""

    def __init__(self, folder: Path) -> None:
        self.extractor: Any = AutoFeatureExtractor.from_pretrained(folder)
        self.network = AutoModelForAudioClassification.from_pretrained(folder).eval()
        norm = getattr(self.network.config, "feat_extract_norm", "layer")
        self.together = norm != "group"  # else padding would change the result

    def __call__(self, waveforms: Sequence[Waveform]) -> NDArray[np.float32]:
        batches = [list(waveforms)] if self.together else [[each] for each in waveforms]
        return np.concatenate([self.judge(batch) for batch in batches])

    def judge(self, batch: list[Waveform]) -> NDArray[np.float32]:
        inputs = self.extractor(
            batch,
            sampling_rate=SAMPLE_RATE,
            padding=True,
            return_attention_mask=self.together,
            return_tensors="pt",
        )
        with torch.inference_mode():
            return self.network(**inputs).logits.numpy()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A draft that gets the name of the folder once all in it is good.

    Raises ValueError where the folder is there already.
    """
    if folder.exists():
        raise ValueError(f"--output={folder} exists: name a new folder, or remove it first")
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    draft.mkdir(parents=True)
    try:
        yield draft
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_labels(model: TrainedModel, temperature: float, folder: Path) -> None:
    """What a program needs to know beside the ONNX file."""
    known = {
        "labels": list(model.labels),
        "sample_rate": SAMPLE_RATE,
        "temperature": temperature,
        "synthetic": model.synthetic,
        "inputs": {
            "waveforms": "float32 (batch, time), mono, right-padded with zeros",
            "attention_mask": "int64 (batch, time), 1 where there is sound, 0 where padding",
        },
        "outputs": {
            "logits": "float32 (batch, classes)",
            "probabilities": "float32 (batch, classes): softmax of logits / temperature",
        },
    }
    (folder / "labels.json").write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def require_token() -> None:
    """Raise ValueError where nobody is logged in to the hub."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise ValueError("--push needs a token: run `hf auth login`, or set HF_TOKEN")


def push(folder: Path, repository: str) -> str:
    """Upload a folder to OWNER/NAME on the hub, private if it is new; its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        hub = HfApi()
        address = hub.create_repo(repository, private=True, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(f"--push={repository} failed, the folder is kept: {reason}") from error
    return str(address)
