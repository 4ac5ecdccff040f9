"""When `last.ckpt` is written."""

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from ser.training.callbacks.last_checkpoint import EXIT, NOTHING, SAVE, LastCheckpoint


@pytest.fixture
def two_devices() -> Any:
    strategy = SimpleNamespace(root_device="cpu", reduce=lambda votes, reduce_op: votes)
    return SimpleNamespace(world_size=2, log_every_n_steps=10, strategy=strategy)


def test_several_devices_notice_a_signal_at_log_steps_however_seldom_they_save(two_devices):
    callback = LastCheckpoint("folder", every_steps=1000)
    callback.received = EXIT + signal.SIGTERM
    callback.step = 10
    assert callback.agree(two_devices) == EXIT + signal.SIGTERM
    callback.step = 11
    assert callback.agree(two_devices) == NOTHING


def test_several_devices_save_between_log_steps_if_that_is_asked_for(two_devices):
    callback = LastCheckpoint("folder", every_steps=3)
    callback.step = 3
    assert callback.agree(two_devices) == SAVE
