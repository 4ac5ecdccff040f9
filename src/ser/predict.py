"""Predictor: recordings to probabilities, without Hydra and without Lightning."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ser.audio import SAMPLE_RATE, Fault, Waveform
from ser.batch import normalise, pad
from ser.job import Precision
from ser.prediction import Failure, Prediction, Window, average, best
from ser.speech import has_speech, load_detector
from ser.trained import TrainedModel, load_trained
from ser.windows import REASONS, Piece, Sliding, Source, name, not_silent, read_pieces

FILES_AHEAD = 32  # recordings that are opened and decoded while the network works
POOL = 256  # windows that are sorted by length together
UNHEARD = "nothing is to be heard in it, or no speech where only speech is asked for"
DECODERS = 4  # threads; soundfile and soxr release the interpreter lock
# A CPU gains nothing from more at once, and loses a third: the memory of larger tensors goes back
# to the system each time, and comes again page by page.
CPU_SAMPLES = 4 * SAMPLE_RATE


class Predictor:
    """A trained model that judges recordings.

    Its labels, in the order of the logits, are `labels`; `temperature` is what the logits are
    divided by (1.0 for the model's own probabilities), `max_seconds` how long a recording is
    judged in one piece where no sliding windows are asked for; `device` is where the network is.
    With `precision` bf16 it is up to twice as fast where the device has it, and a probability is
    off by less than a hundredth. `synthetic` says that it learned from tones that nobody spoke.
    """

    def __init__(
        self,
        model: TrainedModel,
        device: str = "auto",
        *,
        raw: bool = False,
        precision: str = Precision.full,
    ) -> None:
        self.device = choose_device(device)
        self.network = model.network.to(self.device)  # pyright: ignore[reportArgumentType]
        self.name, self.labels, self.max_seconds = model.name, model.labels, model.max_seconds
        self.feature_extractor, self.synthetic = model.feature_extractor, model.synthetic
        self.temperature = 1.0 if raw or model.temperature is None else model.temperature
        self.precision = Precision(precision)

    @classmethod
    def from_checkpoint(
        cls,
        source: str | Path,
        device: str = "auto",
        raw: bool = False,
        precision: str = Precision.full,
    ) -> "Predictor":
        """The predictor of a run folder, a .ckpt, an exported Hugging Face folder, or a hub name.

        `device` is auto (an accelerator where there is one), cpu, cuda, cuda:1, mps. Where a
        temperature was fitted, probabilities are calibrated unless `raw`. Raises ValueError or
        OSError, with one sentence, for what is no such model; no pickled code is ever run.
        """
        return cls(load_trained(source), device, raw=raw, precision=precision)

    def __call__(
        self,
        sources: Sequence[Source],
        *,
        sliding: Sliding | None = None,
        vad: bool = False,
        batch_size: int = 16,
    ) -> list[Prediction]:
        """The prediction of each recording, in the order given; see `stream` for the arguments.

        Raises ValueError at the first recording that cannot be used.
        """
        if isinstance(sources, str | Path):
            raise ValueError(f"give a list of recordings, not one: [{str(sources)!r}]")
        predictions = []
        for result in self.stream(sources, sliding=sliding, vad=vad, batch_size=batch_size):
            if isinstance(result, Failure):
                raise ValueError(f"{result.path or 'samples'} cannot be judged: {result.error}")
            predictions.append(result)
        return predictions

    def stream(
        self,
        sources: Iterable[Source],
        *,
        sliding: Sliding | None = None,
        vad: bool = False,
        batch_size: int = 16,
    ) -> Iterator[Prediction | Failure]:
        """The prediction of each recording as it comes, in the order given.

        A source is a path, an open binary file, or a pair of samples (time,) or (time, channels)
        and their rate in Hz. A recording that cannot be used is a `Failure` in its place. Without
        `sliding`, a recording is judged whole, one over `max_seconds` in windows of that length.
        Silent windows are left out, with `vad` all without speech (OSError without silero-vad).
        Windows of like length are batched, over a look-ahead that bounds the memory, whatever the
        number or length of the recordings.
        """
        sliding = sliding or Sliding(self.max_seconds, self.max_seconds)
        is_heard = not_silent
        if vad:
            load_detector()  # no recording is to blame where it is not installed
            is_heard = has_speech
        waiting: deque[Hearing] = deque()
        pool: list[tuple[Hearing, Piece]] = []
        room = batch_size  # it grows, so that the first results come soon
        for hearing in open_ahead(sources, sliding):
            waiting.append(hearing)
            for piece in hearing.pieces(is_heard):
                pool.append((hearing, piece))
                if len(pool) >= room:
                    room = min(2 * room, max(POOL, batch_size))
                    yield from self._judge(pool, batch_size, waiting)
                    pool.clear()
            if len(waiting) > POOL:  # many that cannot be used, behind one that can
                yield from self._judge(pool, batch_size, waiting)
                pool.clear()
            yield from finished(waiting)
        yield from self._judge(pool, batch_size, waiting)
        yield from finished(waiting)

    def logits(self, waveforms: Sequence[Waveform]) -> NDArray[np.float32]:
        """Logits (batch, classes), not yet divided by the temperature, of 16 kHz waveforms (time,).

        Each is normalised on its own, as in training; a result does not depend on its neighbours.
        """
        together = self.at_once(waveforms)
        parts = [waveforms[i : i + together] for i in range(0, len(waveforms), together)]
        return np.concatenate([self._logits(part) for part in parts])

    def at_once(self, waveforms: Sequence[Waveform]) -> int:
        """How many of these (time,) had best be judged in one pass."""
        if self.device.type != "cpu":
            return len(waveforms)
        return max(1, CPU_SAMPLES // max(map(len, waveforms)))

    def _logits(self, waveforms: Sequence[Waveform]) -> NDArray[np.float32]:
        values, mask = pad([normalise(each, self.feature_extractor) for each in waveforms])
        mixed = self.precision == Precision.mixed
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, mixed):
            output = self.network(
                values.to(self.device),
                # Without a mask the same comes out faster where nothing is padded.
                attention_mask=None if bool(mask.all()) else mask.to(self.device),
            )
        return output.logits.float().cpu().numpy()

    def probabilities(self, waveforms: Sequence[Waveform]) -> NDArray[np.float32]:
        """Probabilities (batch, classes) of 16 kHz waveforms (time,)."""
        scaled = torch.from_numpy(self.logits(waveforms)) / self.temperature
        return scaled.softmax(dim=1).numpy()

    def _judge(
        self,
        pool: list[tuple["Hearing", Piece]],
        batch_size: int,
        waiting: deque["Hearing"],
    ) -> Iterator[Prediction | Failure]:
        """Judge the windows of a pool by length, and yield what is complete after each batch."""
        by_length = sorted(pool, key=lambda entry: len(entry[1].waveform))
        for start in range(0, len(by_length), batch_size):
            batch = by_length[start : start + batch_size]
            rows = self.probabilities([piece.waveform for _, piece in batch])
            for (hearing, piece), row in zip(batch, rows, strict=True):
                hearing.judge(piece, self.labels, row)
            yield from finished(waiting)


@dataclass
class Hearing:
    """A recording on its way: its windows to come, those being judged, and those judged."""

    path: str | None
    coming: "Future[Iterator[Piece]]"
    windows: list[Window] = field(default_factory=list)
    seconds: float = 0.0
    expected: int = 0
    read: bool = False
    error: str = ""

    def pieces(self, is_heard: Callable[[Waveform], bool]) -> Iterator[Piece]:
        """The windows worth judging; what is wrong with the recording ends up in `error`."""
        try:
            for piece in self.coming.result():
                self.seconds = piece.end
                if is_heard(piece.waveform):
                    self.expected += 1
                    yield piece
            if self.expected == 0:
                self.error = UNHEARD if self.seconds else REASONS[Fault.EMPTY]
        except (ValueError, OSError) as error:
            self.error = str(error)
        self.read = True

    def judge(self, piece: Piece, labels: Sequence[str], row: NDArray[np.float32]) -> None:
        if not np.isfinite(row).all():
            self.error = "the network gives no number for it; are its weights whole?"
        probabilities = dict(zip(labels, map(float, row), strict=True))
        window = Window(piece.start, piece.end, best(probabilities), probabilities)
        self.windows.append(window)

    @property
    def complete(self) -> bool:
        return self.read and (bool(self.error) or len(self.windows) == self.expected)

    def result(self) -> Prediction | Failure:
        if self.error:
            return Failure(self.path, self.error)
        windows = sorted(self.windows, key=lambda window: window.start)
        probabilities = average([window.probabilities for window in windows])
        whole = len(windows) == 1 and windows[0].start == 0 and windows[0].end == self.seconds
        timeline = () if whole else tuple(windows)
        return Prediction(self.path, best(probabilities), probabilities, self.seconds, timeline)


def finished(waiting: deque[Hearing]) -> Iterator[Prediction | Failure]:
    while waiting and waiting[0].complete:
        yield waiting.popleft().result()


def open_ahead(sources: Iterable[Source], sliding: Sliding) -> Iterator[Hearing]:
    """Recordings in order, the first block of each decoded ahead of its turn by threads."""

    def begin(source: Source) -> Iterator[Piece]:
        pieces = read_pieces(source, sliding)
        return chain(list(islice(pieces, 1)), pieces)

    with ThreadPoolExecutor(DECODERS) as threads:
        ahead: deque[Hearing] = deque()
        for source in sources:
            ahead.append(Hearing(name(source), threads.submit(begin, source)))
            if len(ahead) > FILES_AHEAD:
                yield ahead.popleft()
        yield from ahead


def choose_device(device: str) -> torch.device:
    """The device of that name. Raises ValueError where there is none here."""
    if device == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"device={device} cannot be used here: {reason}") from error
    return chosen
