from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ser import hidden_states
from ser.data import Example, collate
from ser.hidden_states import HiddenStateCache, Recipe, compute, describe, fill
from ser.labels import LABELS
from ser.model import build_network
from ser.model_config import BackboneConfig, Mode, ModelConfig, Pooling
from ser.network import EmotionNetwork
from ser.tuning import set_trainable

RECIPE = Recipe("w", 2, False, False, 8.0, "32-true", "{}")
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 15,
    "num_conv_pos_embedding_groups": 4,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}


def build(seed: int = 0, **options: Any) -> EmotionNetwork:
    torch.manual_seed(seed)
    backbone = BackboneConfig("x", pretrained=False, architecture=TINY, mask_time_prob=0.0)
    config = ModelConfig(backbone=backbone, **options)
    network = build_network(config, LABELS)
    set_trainable(network, config)
    return network


def clip(seconds: float, seed: int) -> Example:
    noise = np.random.default_rng(seed).normal(0, 1, round(16_000 * seconds))
    return Example(noise.astype(np.float32), 0, seed)


def states(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (frames, 1, 4)).astype(np.float16)


MODES: dict[str, dict[str, Any]] = {
    "head": {"mode": Mode.head},
    "head_attention": {"mode": Mode.head, "pooling": Pooling.attention},
    "head_weighted": {"mode": Mode.head, "weighted_layers": True},
    "head_weighted_statistics": {
        "mode": Mode.head, "weighted_layers": True, "pooling": Pooling.statistics,
    },
    "top": {"top_layers": 1},
    "top_weighted": {"top_layers": 2, "weighted_layers": True},
    "top_all": {"top_layers": 3},
    "lora": {"mode": Mode.lora, "top_layers": 2},
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_logits_and_gradients_from_stored_states_are_those_from_waveforms(mode):
    """In evaluation mode, where no dropout differs, and up to half precision."""
    network = build(**MODES[mode])
    batch = collate([clip(0.7, 1), clip(1.2, 2), clip(0.5, 3)], 0)
    recipe = describe(network, 8.0, "32-true", {})
    kept = compute(recipe, network, batch["input_values"], batch["attention_mask"], nullcontext)
    stored = collate([Example(each, 0, row) for row, each in enumerate(kept)], 0, least=0)
    network.eval()
    logits, gradients = [], []
    for given in (batch, stored):
        network.zero_grad()
        result = network(given["input_values"], attention_mask=given["attention_mask"]).logits
        result.square().sum().backward()
        logits.append(result.detach())
        trained = [p for p in network.parameters() if p.requires_grad]
        gradients.append(torch.cat([p.grad.flatten() for p in trained if p.grad is not None]))
    torch.testing.assert_close(logits[1], logits[0], atol=2e-3, rtol=0)
    assert (gradients[1] - gradients[0]).norm() < 0.01 * gradients[0].norm()
    pooled = mode in ("head", "head_weighted")
    assert (len(kept[0]) == 1) == recipe.pooled == pooled


def test_what_was_written_is_read_again_and_by_another_process(tmp_path):
    cache = HiddenStateCache(tmp_path, RECIPE)
    cache.write({"a": states(5), "b": states(3, 1)})
    cache.write({"c": states(2, 2)})
    for again in (HiddenStateCache(tmp_path, RECIPE),):
        assert again.missing(["a", "b", "c", "d"]) == {"d"}
        np.testing.assert_array_equal(again.read("b"), states(3, 1))
        np.testing.assert_array_equal(again.read("c"), states(2, 2))
    with get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(again.read, ["a"]), states(5))


@pytest.mark.parametrize("suffix", ["npy", "json"])
def test_a_damaged_shard_counts_as_missing(tmp_path, suffix):
    cache = HiddenStateCache(tmp_path, RECIPE)
    cache.write({"a": states(5)})
    [file] = cache.folder.glob(f"*.{suffix}")
    file.write_bytes(file.read_bytes()[:-3])
    assert HiddenStateCache(tmp_path, RECIPE).missing(["a"]) == {"a"}


def test_other_weights_layers_or_settings_are_another_cache():
    one = describe(build(top_layers=1), 8.0, "32-true", {})
    assert describe(build(top_layers=1), 8.0, "32-true", {}).key == one.key
    others = [
        describe(build(1, top_layers=1), 8.0, "32-true", {}),
        describe(build(top_layers=2), 8.0, "32-true", {}),
        describe(build(top_layers=1, weighted_layers=True), 8.0, "32-true", {}),
        describe(build(top_layers=1), 5.0, "32-true", {}),
        describe(build(top_layers=1), 8.0, "bf16-mixed", {}),
        describe(build(top_layers=1), 8.0, "32-true", {"do_normalize": False}),
        replace(one, version=0),
    ]
    assert len({one.key, *(other.key for other in others)}) == 8


def test_what_is_trained_does_not_count_for_the_key():
    network = build(top_layers=1)
    before = describe(network, 8.0, "32-true", {}).key
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data += 1
    assert describe(network, 8.0, "32-true", {}).key == before
    pooled = build(top_layers=1, pooling=Pooling.attention)
    assert describe(pooled, 8.0, "32-true", {}).key == before
    network.backbone.feature_projection.projection.bias.data += 1
    assert describe(network, 8.0, "32-true", {}).key != before


class Counted:
    """Batches of one utterance each that count how often they are asked for."""

    def __init__(self, stop_after: int = 99) -> None:
        self.given, self.stop_after = 0, stop_after

    def __iter__(self):
        for row, name in enumerate("abc"):
            if self.given == self.stop_after:
                raise KeyboardInterrupt
            self.given += 1
            batch = collate([clip(0.5, row)], 0)
            yield [name], batch["input_values"], batch["attention_mask"]


def test_states_are_computed_once_and_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(hidden_states, "BYTES_PER_SHARD", 1)  # so each is a shard
    network = build(mode=Mode.head)
    recipe = describe(network, 8.0, "32-true", {})
    with pytest.raises(KeyboardInterrupt):
        fill(HiddenStateCache(tmp_path, recipe), network, Counted(2), "abc", nullcontext)
    assert HiddenStateCache(tmp_path, recipe).missing("abc") == {"c"}
    cache = HiddenStateCache(tmp_path, recipe)
    fill(cache, network, Counted(), "abc", nullcontext)
    assert len(list(cache.folder.glob("*.npy"))) == 3
    never = Counted()
    fill(cache, network, never, "abc", nullcontext)
    fill(HiddenStateCache(tmp_path, recipe), network, never, "abc", nullcontext)
    assert never.given == 0


def test_a_second_run_finds_what_another_added_meanwhile(tmp_path):
    network = build(mode=Mode.head)
    recipe = describe(network, 8.0, "32-true", {})
    early = HiddenStateCache(tmp_path, recipe)
    fill(HiddenStateCache(tmp_path, recipe), network, Counted(), "abc", nullcontext)
    never = Counted()
    fill(early, network, never, "abc", nullcontext)
    assert never.given == 0
    assert early.missing("abc") == set()


def test_a_full_disk_says_what_to_do(tmp_path):
    cache = HiddenStateCache(tmp_path, RECIPE)
    cache.folder.rmdir()
    with pytest.raises(OSError, match=r"data\.cache_dir.*model\.cache_hidden_states=false"):
        cache.write({"a": states(1)})


def test_what_an_interrupted_run_left_behind_is_removed(tmp_path):
    network = build(mode=Mode.head)
    cache = HiddenStateCache(tmp_path, describe(network, 8.0, "32-true", {}))
    for name in ("orphan.npy", ".x.npy.0123.tmp"):
        (cache.folder / name).write_bytes(b"half")
    fill(cache, network, Counted(), "abc", nullcontext)
    assert {file.suffix for file in cache.folder.iterdir()} - {".npy", ".json", ""} == set()
    assert len(list(cache.folder.glob("*.npy"))) == len(list(cache.folder.glob("*.json"))) == 1
