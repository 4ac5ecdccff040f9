"""Stored hidden states: the same logits and gradients, and a cache that survives anything."""

import pickle
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ser.config.model import Mode, Pooling
from ser.data.dataset import Example, collate
from ser.data.sampler import SampleIndex
from ser.errors import UserError
from ser.models import state_cache
from ser.models.hidden_states import CacheKey, Stored, StoredStates, compute, make_key
from ser.models.state_cache import HiddenStateCache, fill

KEY = CacheKey("w", 2, False, Stored.frames, 8.0, "32-true", True)
MODES: dict[str, dict[str, Any]] = {
    "head": {"mode": Mode.head},
    "head_floor": {"mode": Mode.head, "pooling_floor_db": -0.3, "pooling": Pooling.statistics},
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


def stored(frames: int, seed: int = 0) -> StoredStates:
    states = np.random.default_rng(seed).normal(0, 1, (frames, 1, 4)).astype(np.float16)
    return StoredStates(states, frames)


def key_of(network: Any, seconds: float = 8.0, precision: str = "32-true", **options: Any):
    given: dict[str, Any] = {"normalizes": True} | options
    return make_key(network, seconds, precision, **given)


def logits_and_gradients(network: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    network.zero_grad()
    logits = network(batch["input_values"], attention_mask=batch["attention_mask"]).logits
    logits.square().sum().backward()
    parameters = [p.grad for p in network.parameters() if p.grad is not None]
    return logits.detach(), torch.cat([gradient.flatten() for gradient in parameters])


@pytest.mark.parametrize("mode", MODES)
def test_stored_states_give_the_logits_and_gradients_of_waveforms(tune, kind, batch, mode):
    """In evaluation mode, which has no dropout, and up to half precision."""
    network = tune(kind, **MODES[mode])
    key = key_of(network)
    kept = compute(key, network.eval(), batch["input_values"], batch["attention_mask"], nullcontext)
    examples = [
        Example(each.states, 0, SampleIndex(row), 1.0, each.spoken) for row, each in enumerate(kept)
    ]
    from_states = collate(examples, least=0, grid=key.grid)
    expected, wanted = logits_and_gradients(network, batch)
    logits, gradients = logits_and_gradients(network, from_states)
    torch.testing.assert_close(logits, expected, atol=3e-3, rtol=0)
    assert (gradients - wanted).norm() < 0.01 * wanted.norm()
    pooled = mode in ("head", "head_weighted")
    assert (len(kept[0].states) == 1) == (key.stored == Stored.mean) == pooled


def test_features_of_each_pooling_speed_and_floor_have_their_own_key(tune):
    def key(**options: Any) -> CacheKey:
        return key_of(tune(mode=Mode.head, projector=False, **options))

    plain = key(pooling=Pooling.statistics)
    others = [
        key(pooling=Pooling.mean),
        key(pooling=Pooling.statistics, pooling_floor_db=-30.0),
        key(pooling=Pooling.statistics, pooling_floor_db=-40.0),
        key(pooling=Pooling.statistics, join_layers=[1, 3]),
        replace(plain, speed=0.9),
    ]
    assert len({each.digest for each in [plain, *others]}) == 6


def test_what_was_written_is_read_also_by_another_process(tmp_path):
    cache = HiddenStateCache(tmp_path, KEY)
    cache.write({"a": stored(500), "b": stored(3, 1)})
    cache.write({"c": stored(2, 2)})
    again = HiddenStateCache(tmp_path, KEY)
    assert again.missing(["a", "b", "c", "d"]) == {"d"}
    np.testing.assert_array_equal(again.read("b").states, stored(3, 1).states)
    np.testing.assert_array_equal(again.read("c").states, stored(2, 2).states)
    assert again.read("a").spoken == 500
    pickled = pickle.dumps(again)  # what a loader process receives
    assert len(pickled) < 2000
    np.testing.assert_array_equal(pickle.loads(pickled).read("a").states, stored(500).states)


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-3],
        lambda content: b"",
        lambda content: flip(content, len(content) - 9),
        lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    ],
    ids=["truncated", "empty", "a flipped bit", "zeros"],
)
@pytest.mark.parametrize("suffix", ["npy", "json"])
def test_a_damaged_shard_counts_as_missing_and_is_replaced(tmp_path, suffix, damage):
    cache = HiddenStateCache(tmp_path, KEY)
    cache.write({"a": stored(500)})
    [file] = cache.folder.glob(f"*.{suffix}")
    file.write_bytes(damage(file.read_bytes()))
    again = HiddenStateCache(tmp_path, KEY)
    assert again.missing(["a"]) == {"a"}
    again.tidy()
    again.write({"a": stored(500)})
    assert HiddenStateCache(tmp_path, KEY).missing(["a"]) == set()
    assert len(list(cache.folder.iterdir())) == 2


@pytest.mark.parametrize("entries", ["[]", "3", '{"a": 1}', '{"a": [1, 2]}', "null"])
def test_an_index_of_another_form_counts_as_missing(tmp_path, entries):
    cache = HiddenStateCache(tmp_path, KEY)
    cache.write({"a": stored(5)})
    [index] = cache.folder.glob("*.json")
    index.write_text(entries)
    assert HiddenStateCache(tmp_path, KEY).missing(["a"]) == {"a"}


def test_other_weights_layers_or_settings_have_another_key(tune, kinds):
    one = key_of(tune(top_layers=1))
    assert key_of(tune(top_layers=1)).digest == one.digest
    others = [
        key_of(tune(seed=1, top_layers=1)),
        key_of(tune(top_layers=2)),
        key_of(tune(top_layers=1, weighted_layers=True)),
        key_of(tune(top_layers=1), seconds=5.0),
        key_of(tune(top_layers=1), precision="bf16-mixed"),
        key_of(tune(top_layers=1), normalizes=False),
        key_of(tune(kinds["whisper"], top_layers=1)),
        key_of(tune(kinds["whisper-silence"], top_layers=1)),
        replace(one, version=0),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 10


def test_trained_weights_do_not_change_the_key(tune, kind):
    network = tune(kind, top_layers=1)
    before = key_of(network).digest
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data += 1
    assert key_of(network).digest == before
    other = tune(kind, top_layers=1, pooling=Pooling.attention)
    other.load_state_dict(network.state_dict(), strict=False)
    assert key_of(other).digest == before
    next(network.family.layers(network)[0].parameters()).data += 1
    assert key_of(network).digest != before


class CountedBatches:
    """Batches of one utterance each that count how many were computed."""

    def __init__(self, stop_after: int = 99) -> None:
        self.given, self.stop_after = 0, stop_after

    def __iter__(self):
        for row, name in enumerate("abc"):
            if self.given == self.stop_after:
                raise KeyboardInterrupt
            self.given += 1
            noise = np.random.default_rng(row).normal(0, 1, 8000).astype(np.float32)
            batch = collate([Example(noise, 0, SampleIndex(row), 0.5)])
            yield [name], batch["input_values"], batch["attention_mask"]


def test_states_are_computed_once_and_an_interrupted_run_continues(
    tmp_path: Path, tune, monkeypatch
):
    monkeypatch.setattr(state_cache, "BYTES_PER_SHARD", 1)  # so each is a shard
    network = tune(mode=Mode.head)
    key = key_of(network)
    with pytest.raises(KeyboardInterrupt):
        fill(HiddenStateCache(tmp_path, key), network, CountedBatches(2), "abc", nullcontext)
    assert HiddenStateCache(tmp_path, key).missing("abc") == {"c"}
    cache = HiddenStateCache(tmp_path, key)
    fill(cache, network, CountedBatches(), "abc", nullcontext)
    assert len(list(cache.folder.glob("*.npy"))) == 3
    never = CountedBatches()
    fill(cache, network, never, "abc", nullcontext)
    fill(HiddenStateCache(tmp_path, key), network, never, "abc", nullcontext)
    assert never.given == 0


def test_a_second_run_finds_what_another_one_added(tmp_path, tune):
    network = tune(mode=Mode.head)
    early = HiddenStateCache(tmp_path, key_of(network))
    fill(HiddenStateCache(tmp_path, key_of(network)), network, CountedBatches(), "abc", nullcontext)
    never = CountedBatches()
    fill(early, network, never, "abc", nullcontext)
    assert never.given == 0
    assert early.missing("abc") == set()


def test_a_full_disk_is_an_error_with_ways_out(tmp_path):
    cache = HiddenStateCache(tmp_path, KEY)
    cache.folder.rmdir()
    with pytest.raises(UserError, match=r"data\.cache_dir.*model\.cache_hidden_states=false"):
        cache.write({"a": stored(1)})


def test_leftovers_of_an_interrupted_run_are_removed(tmp_path, tune):
    network = tune(mode=Mode.head)
    cache = HiddenStateCache(tmp_path, key_of(network))
    for name in ("orphan.npy", "orphan2.json", ".x.npy.0123.tmp"):
        (cache.folder / name).write_bytes(b"half")
    fill(cache, network, CountedBatches(), "abc", nullcontext)
    assert {file.suffix for file in cache.folder.iterdir()} - {".npy", ".json", ""} == set()
    assert len(list(cache.folder.glob("*.npy"))) == len(list(cache.folder.glob("*.json"))) == 1
