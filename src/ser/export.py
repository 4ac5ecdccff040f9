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
from ser.parity import collect_clips, compare, require_parity
from ser.predict import Predictor
from ser.trained import OURS, TrainedModel, load_trained

CARD = """---
library_name: transformers
pipeline_tag: audio-classification
tags: [speech-emotion-recognition, {family}]
---
# Speech emotion recognition: {labels}

```python
from transformers import pipeline

pipeline("audio-classification", model="FOLDER_OR_REPOSITORY", top_k=None)("speech.wav")
```

Input is mono speech at {rate} Hz; training clips were up to {seconds:g} s long. {temperature}
{norm}
Acted emotions in quiet rooms are not those of life. Do not use it to judge people: in the European
Union, inferring emotions at work and in education is prohibited (Regulation 2024/1689, Article 5).
The corpora it was trained on may forbid commercial use.
"""
GROUP_NORM = """
The first convolution of this family normalises over time. In `transformers` that includes padding,
so predict clips one by one, or in batches of equal length; `ser.Predictor` has no such limit.
"""


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
        settings = {"temperature": model.temperature, "max_seconds": model.max_seconds}
        setattr(model.network.config, OURS, settings)
        model.network.save_pretrained(draft)
        model.feature_extractor.save_pretrained(draft)
        (draft / "README.md").write_text(write_card(model), encoding="utf-8")
        predictor = Predictor(model, "cpu")
        chosen = collect_clips(clips, predictor)
        parity = compare(predictor.logits, TransformersJudge(draft), chosen)
        require_parity(parity, f"the export of {source}")
    return str(parity)


def write_card(model: TrainedModel) -> str:
    """The model card, as far as the model itself knows."""
    temperature = (
        "Probabilities are not calibrated."
        if model.temperature is None
        else f"For calibrated probabilities divide the logits by {model.temperature:.4g}."
    )
    return CARD.format(
        family=model.network.config.model_type,
        labels=", ".join(model.labels),
        rate=SAMPLE_RATE,
        seconds=model.max_seconds,
        temperature=temperature,
        norm=GROUP_NORM if model.network.group_norms else "",
    )


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
