"""Run a network on a device in the precision that was asked for."""

import logging
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ser.config.precision import Precision
from ser.errors import UserError, first_line
from ser.models.network import EmotionNetwork
from ser.models.precision import PrecisionParity, computes_bf16, copy_for_inference

log = logging.getLogger(__name__)
TRIAL_CLIPS = 16  # the first clips, which are run in fp32 and in bf16 if nothing else is known


class NetworkRunner:
    """A network in one precision.

    With `auto` that is fp32 on devices that do not compute in bf16. On others `parity`, which was
    measured at the end of training, decides. If it is None, the first clips are run both ways:
    their results are those of fp32, and bf16 is used afterwards if they agree.
    """

    def __init__(
        self,
        network: EmotionNetwork,
        device: torch.device,
        precision: Precision,
        parity: PrecisionParity | None = None,
        temperature: float = 1.0,
    ) -> None:
        moved: Any = network
        self.network: EmotionNetwork = copy_for_inference(moved.to(device), Precision.fp32)
        self.precision, self.trial, self.temperature = Precision.fp32, None, temperature
        self.compared: list[PrecisionParity] = []
        self.lock = Lock()
        if precision == Precision.auto:
            self.start_automatic(device, parity)
        elif precision != Precision.fp32:
            if precision == Precision.bf16 and not computes_bf16(device):
                log.warning("This device emulates bf16, which is slower than fp32")
            self.use(copy_for_inference(self.network, precision), precision)

    def start_automatic(self, device: torch.device, parity: PrecisionParity | None) -> None:
        if not computes_bf16(device):
            return
        reduced = (
            None if parity and not parity.good else copy_for_inference(self.network, Precision.bf16)
        )
        if parity is None:
            self.trial = reduced
        elif reduced is not None:
            self.use(reduced, Precision.bf16)
        else:  # known since the training, which logged it
            log.info("Computing in fp32: %s", parity)

    def use(self, network: EmotionNetwork, precision: Precision) -> None:
        self.network, self.precision = network, precision

    def __call__(self, values: torch.Tensor, mask: torch.Tensor | None) -> NDArray[np.float32]:
        """Logits (batch, classes) of waveforms (batch, time) and their mask."""
        logits = run(self.network, values, mask)
        if self.trial is not None:
            with self.lock:
                self.compare(logits, values, mask)
        return logits.numpy()

    def embed(self, values: torch.Tensor, mask: torch.Tensor | None) -> NDArray[np.float32]:
        """Pooled features (batch, size) of waveforms (batch, time) and their mask."""
        with torch.inference_mode():
            return self.network.embed_utterances(values, mask).float().cpu().numpy()

    def all_networks(self) -> list[Any]:
        """The network, and its copy in lower precision while it is on trial."""
        return [self.network, *([] if self.trial is None else [self.trial])]

    def compare(
        self, logits: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
    ) -> None:
        """Compare the logits of one batch with those in bf16, and decide after enough clips."""
        if self.trial is None:
            return  # another thread has decided
        both = (logits, run(self.trial, values, mask))
        expected, found = ((each / self.temperature).softmax(1) for each in both)
        same = (expected.argmax(1) == found.argmax(1)).float().mean()
        difference = float((expected - found).abs().max())
        self.compared.append(PrecisionParity(len(logits), difference, float(same)))
        parity = combine(self.compared)
        if not parity.good:
            log.warning("Computing in fp32: %s", parity)
            self.trial = None
        elif parity.clips >= TRIAL_CLIPS:
            log.info("Computing in bf16: %s", parity)
            self.use(self.trial, Precision.bf16)
            self.trial = None


def combine(parts: list[PrecisionParity]) -> PrecisionParity:
    """The parity of all clips together."""
    clips = sum(part.clips for part in parts)
    return PrecisionParity(
        clips,
        float(np.max([part.difference for part in parts])),  # NaN if any is
        sum(part.agreement * part.clips for part in parts) / clips,
    )


def run(network: EmotionNetwork, values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    with torch.inference_mode():
        return network(values, attention_mask=mask).logits.float().cpu()


def choose_device(device: str) -> torch.device:
    """The device of that name. Raises UserError if this machine has no such device."""
    if device == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).tolist()  # a meta device has no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error)
        raise UserError(f"device={device} cannot be used here: {reason}") from error
    return chosen
