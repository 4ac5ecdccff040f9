"""Hidden states below the first trained layer: computed once an utterance, and kept on disk.

What lies below that layer gives the same output in every epoch and every run of a sweep. Training
that starts from the stored output takes a tenth of the time or less.
"""

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ser.atomic import replacing, waiting_for, write_text
from ser.model_config import Pooling
from ser.network import EmotionNetwork
from ser.progress import progress_bar

log = logging.getLogger(__name__)
RECIPE = 1  # a change to what is stored needs a new number
BYTES_PER_SHARD = 2**28
# Settings of a network that make no difference to its hidden states in evaluation mode.
IRRELEVANT = ("id2label", "label2id", "pooling", "classifier_proj_size", "mask_", "_name_or_path")

HiddenStates = NDArray[np.float16]  # (frames, layers, size)
Batches = Iterable[tuple[Sequence[str], torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Recipe:
    """All that the hidden states of an utterance depend on, but its samples.

    `pooled` says that the mean over the frames is kept in place of the frames: the projector
    above is linear, so its mean is the projection of theirs. `precision` is the Trainer's.
    """

    weights: str
    layer: int
    weighted: bool
    pooled: bool
    max_seconds: float
    precision: str
    feature_extractor: str
    version: int = RECIPE

    @property
    def grid(self) -> int:
        """Frames that the length of a batch is a multiple of: 0.1 s, as for waveforms."""
        return 1 if self.pooled else 5

    @property
    def key(self) -> str:
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def describe(
    network: EmotionNetwork, max_seconds: float, precision: str, feature_extractor: dict[str, Any]
) -> Recipe:
    """What the hidden states that this network resumes from depend on."""
    layer = network.resumed_layer
    return Recipe(
        weights=hash_weights(network, layer),
        layer=layer,
        weighted=network.weighted,
        pooled=layer == network.depth and network.config.pooling == Pooling.mean,
        max_seconds=max_seconds,
        precision=precision,
        feature_extractor=json.dumps(feature_extractor, sort_keys=True),
    )


def hash_weights(network: EmotionNetwork, layer: int) -> str:
    """A hash of the architecture and of the weights below a transformer layer."""
    settings = network.config.to_dict()
    kept = {key: value for key, value in settings.items() if not key.startswith(IRRELEVANT)}
    digest = hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=16)
    above = [f"encoder.layers.{number}." for number in range(layer, network.depth)]
    if layer < network.depth and network.normalises_last:
        above.append("encoder.layer_norm.")
    for name, value in sorted(network.backbone.state_dict().items()):
        if not name.startswith((*above, "masked_spec_embed")):
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(name.encode())
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


class HiddenStateCache:
    """Hidden states in half precision by the content of their utterance, memory-mapped.

    Shards are immutable: the states are written under a temporary name and renamed, then the
    index in the same way, so an interrupted run loses at most the shard in progress.
    """

    def __init__(self, cache_dir: Path, recipe: Recipe) -> None:
        self.recipe = recipe
        self.folder = cache_dir.expanduser() / "hidden_states" / recipe.key
        self.folder.mkdir(parents=True, exist_ok=True)
        self._places: dict[str, tuple[str, int, int]] = {}
        self._shards: dict[str, HiddenStates] = {}
        self.load()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shards": {}}  # a loader process maps the shards for itself

    def missing(self, contents: Iterable[str]) -> set[str]:
        return {content for content in contents if content not in self._places}

    def read(self, content: str) -> HiddenStates:
        """The hidden states (frames, layers, size) of the utterance with this content hash."""
        shard, offset, frames = self._places[content]
        if shard not in self._shards:
            self._shards[shard] = np.load(self.folder / f"{shard}.npy", mmap_mode="r")
        return self._shards[shard][offset : offset + frames]

    def load(self) -> None:
        """Find out what is there; a shard that is not as it was written counts as missing."""
        for index in self.folder.glob("*.json"):
            try:
                places = json.loads(index.read_text())
                states = np.load(index.with_suffix(".npy"), mmap_mode="r")
            except (OSError, ValueError, EOFError):
                continue
            if sum(places.values()) == len(states):
                self._shards[index.stem], offset = states, 0
                for content, frames in places.items():
                    self._places[content] = (index.stem, offset, frames)
                    offset += frames

    def tidy(self) -> None:
        """Remove what interrupted runs left behind; call under the lock."""
        for file in (*self.folder.glob("*.npy"), *self.folder.glob(".*.tmp")):
            if file.stem not in self._shards:
                file.unlink(missing_ok=True)

    def write(self, states: dict[str, HiddenStates]) -> None:
        """Add one shard. Raises OSError where there is no room for it."""
        shard = self.folder / uuid.uuid4().hex
        frames = {content: len(frames) for content, frames in states.items()}
        try:
            with replacing(shard.with_suffix(".npy")) as file:
                np.save(file, np.concatenate(list(states.values())))
            write_text(shard.with_suffix(".json"), json.dumps(frames))
        except OSError as error:
            raise OSError(
                f"hidden states cannot be written to {self.folder} ({error.strerror}): make room,"
                " move data.cache_dir, or do without with model.cache_hidden_states=false"
            ) from error


def fill(
    cache: HiddenStateCache,
    network: EmotionNetwork,
    batches: Batches,
    contents: Sequence[str],
    context: Callable[[], AbstractContextManager[Any]],
) -> None:
    """Compute what is missing; a second run that asks for the same waits and finds it done.

    `batches` yields contents, waveforms and masks (batch, time); `context` is the precision.
    """
    if not cache.missing(contents):
        return
    with waiting_for(cache.folder):
        cache.load()
        cache.tidy()
        missing, pending, size = cache.missing(contents), {}, 0
        if not missing:
            return
        with progress_bar() as progress:
            task = progress.add_task("Computing hidden states", total=len(missing))
            for names, waveforms, mask in batches:
                if not missing.intersection(names):
                    continue
                states = compute(cache.recipe, network, waveforms, mask, context)
                new = {n: s for n, s in zip(names, states, strict=True) if n in missing}
                pending |= new
                size += sum(each.nbytes for each in new.values())
                progress.advance(task, len(new))
                if size >= BYTES_PER_SHARD:
                    cache.write(pending)
                    pending, size = {}, 0
        if pending:
            cache.write(pending)
        cache.load()


def compute(
    recipe: Recipe,
    network: EmotionNetwork,
    waveforms: torch.Tensor,
    mask: torch.Tensor,
    context: Callable[[], AbstractContextManager[Any]],
) -> list[HiddenStates]:
    """The hidden states (frames, layers, size) of each of a batch of waveforms (batch, time)."""
    with torch.no_grad(), context():
        device = network.device
        states, valid = network.encode(waveforms.to(device), mask.to(device), recipe.layer)
    largest = torch.finfo(torch.float16).max
    results = []
    for frames, length in zip(states.float(), valid.sum(1).tolist(), strict=True):
        kept = frames[:length]
        kept = kept.mean(0, keepdim=True) if recipe.pooled else kept
        results.append(kept.clamp(-largest, largest).half().cpu().numpy())
    return results
