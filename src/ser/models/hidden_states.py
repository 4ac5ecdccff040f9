"""Hidden states below the first trained layer, computed once per utterance.

The layers below give the same output in every epoch and in every run of a sweep. Training that
starts from their output takes a tenth of the time or less. `ser.models.state_cache` stores it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ser.config.model import Pooling
from ser.models.families.base import PADDING, SPEECH
from ser.models.network import EmotionNetwork

VERSION = 2  # a change to what is stored needs a new number
# Settings of a network that do not change its hidden states in evaluation mode.
IRRELEVANT = (
    *("id2label", "label2id", "pooling", "classifier_proj_size", "mask_", "_name_or_path"),
    *("use_projector", "standardize", "adaptable", "architectures"),
)

HiddenStates = NDArray[np.floating]  # (frames, layers, size), or features (1, size)


class Stored(StrEnum):
    """What is kept of a clip: frames, their mean, pooled features, or those of every layer."""

    frames = "frames"
    mean = "mean"
    features = "features"
    layers = "layers"


@dataclass(frozen=True)
class StoredStates:
    """Hidden states (frames, layers, size); the frames from `spoken` on are silence.

    Pooled features are (1, size).
    """

    states: HiddenStates
    spoken: int


Batches = Iterable[tuple[Sequence[str], torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class CacheKey:
    """Everything that the stored states of an utterance depend on, except its samples.

    `stored` says what is kept of a clip. `precision` is that of the Trainer.
    """

    weights: str
    layer: int
    weighted: bool
    stored: Stored
    max_seconds: float
    precision: str
    normalizes: bool
    version: int = VERSION
    pooling: str = ""  # of stored features
    speed: float = 1.0

    @property
    def grid(self) -> int:
        """The length of a batch is a multiple of this many frames: 0.1 s, as for waveforms."""
        return 5 if self.stored == Stored.frames else 1

    @property
    def digest(self) -> str:
        settings = asdict(self)
        for name in ("pooling", "speed"):  # caches from before these settings stay valid
            if settings[name] == getattr(CacheKey, name):
                del settings[name]
        text = json.dumps(settings, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def make_key(
    network: EmotionNetwork,
    max_seconds: float,
    precision: str,
    *,
    normalizes: bool,
    stored: Stored | None = None,
) -> CacheKey:
    """The key of the hidden states from which this network is trained.

    `stored` is what is kept; by default the least that training needs.
    """
    layer = network.first_trained_layer
    stored = stored or choose_stored(network, layer)
    pools = stored in (Stored.features, Stored.layers)
    return CacheKey(
        weights=hash_weights(network, layer),
        layer=layer,
        weighted=network.weighted,
        stored=stored,
        max_seconds=max_seconds,
        precision=precision,
        normalizes=normalizes,
        pooling=str(network.config.pooling) if pools else "",
    )


def choose_stored(network: EmotionNetwork, layer: int) -> Stored:
    """The least that the trained part above a layer needs."""
    pooling = network.config.pooling
    # Attention is trained; what another package's pooling computes may change.
    if layer < network.depth or pooling not in (Pooling.mean, Pooling.statistics):
        return Stored.frames
    if not network.weighted and isinstance(network.projector, nn.Identity):
        return Stored.features
    # A linear projection of a mean is the mean of the projections.
    return Stored.mean if pooling == Pooling.mean else Stored.frames


def hash_weights(network: EmotionNetwork, layer: int) -> str:
    """A hash of the architecture and of the weights below a transformer layer."""
    settings = network.config.to_dict()
    kept = {key: value for key, value in settings.items() if not key.startswith(IRRELEVANT)}
    digest = hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=16)
    above = {
        id(value)
        for part in network.family.layers(network)[layer:]
        for value in part.state_dict(keep_vars=True).values()
    }
    norm = network.family.final_norm(network)
    if norm is not None and layer < network.depth:
        above |= {id(value) for value in norm.state_dict(keep_vars=True).values()}
    for name, value in sorted(network.state_dict(keep_vars=True).items()):
        if id(value) in above or network.is_optional(name):
            continue
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(name.encode())
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def compute(
    key: CacheKey,
    network: EmotionNetwork,
    waveforms: torch.Tensor,
    mask: torch.Tensor,
    context: Callable[[], AbstractContextManager[Any]],
) -> list[StoredStates]:
    """The hidden states of each of a batch of waveforms (batch, time)."""
    with torch.no_grad(), context():
        device = network.device
        if key.stored == Stored.layers:
            return compute_layers(network, waveforms.to(device), mask.to(device))
        if key.stored == Stored.features:
            features = network.embed_utterances(waveforms.to(device), mask.to(device))
            return [StoredStates(row[None], 1) for row in features.float().cpu().numpy()]
        states, frames = network.encode(waveforms.to(device), mask.to(device), key.layer)
    largest = torch.finfo(torch.float16).max
    # Silence after a clip is needed by further attention layers, and by nothing else.
    kept = frames == SPEECH if key.layer == network.depth else frames != PADDING
    counts = (frames == SPEECH).sum(1).tolist()
    results = []
    for each, rows, spoken in zip(states.float(), kept, counts, strict=True):
        valid = each[rows]
        valid = valid.mean(0, keepdim=True) if key.stored == Stored.mean else valid
        half = valid.clamp(-largest, largest).half().cpu().numpy()
        results.append(StoredStates(half, 1 if key.stored == Stored.mean else spoken))
    return results


def compute_layers(
    network: EmotionNetwork, waveforms: torch.Tensor, mask: torch.Tensor
) -> list[StoredStates]:
    """Pooled features (1, layers + 1, size) of the embedding and of every layer, per clip."""
    states, frames = network.run(waveforms, mask, everything=True)
    pooled = torch.stack([network.pool(each[:, :, None], frames) for each in states], dim=1)
    return [StoredStates(row[None], 1) for row in pooled.float().cpu().numpy()]
