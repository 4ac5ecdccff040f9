"""Predictions for uploads: decoded within bounds, batched over requests."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import numpy as np
from starlette.exceptions import HTTPException

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.errors import UserError
from ser.inference.pending import PendingRecording
from ser.inference.prediction import Failure, Prediction
from ser.inference.predictor import Predictor
from ser.inference.settings import WindowConfig
from ser.inference.windows import Window, cut_blocks, not_silent
from ser.serving.batching import Batcher, Row
from ser.serving.decoding import Decoders, LongRecording
from ser.serving.limits import MAX_WINDOWS, SHORT_SECONDS, Limits
from ser.serving.logs import LOG
from ser.serving.schemas import ModelInfo
from ser.serving.telemetry import Telemetry
from ser.version import __version__


@dataclass
class UploadWindows:
    """The windows of an upload to come, and the recording that collects their predictions."""

    recording: PendingRecording
    coming: Iterator[Window]

    @classmethod
    def cut(
        cls, blocks: Iterator[Waveform], config: WindowConfig, warnings: list[str]
    ) -> "UploadWindows":
        """`warnings` is the list to which decoding adds."""
        coming: Future[Iterator[Window]] = Future()
        coming.set_result(limit_windows(cut_blocks(blocks, config)))
        recording = PendingRecording(None, coming, warnings=warnings)
        return cls(recording, recording.read_windows(not_silent))

    def read(self, count: int) -> list[Window]:
        """The next windows that are not silent, in a decoder's thread."""
        return list(islice(self.coming, count))


class Service:
    """A predictor with decoders before it and a batcher around it, within limits."""

    def __init__(self, predictor: Predictor, limits: Limits, batch_size: int) -> None:
        self.predictor, self.limits, self.batch_size = predictor, limits, batch_size
        self.telemetry = Telemetry()
        self.batcher = Batcher(predictor, batch_size, self.telemetry.batches.observe)
        self.decoders = Decoders(limits)
        self.telemetry.waiting.set_function(lambda: self.decoders.waiting)

    @property
    def model_info(self) -> ModelInfo:
        return ModelInfo(
            name=self.predictor.name,
            labels=list(self.predictor.labels),
            sample_rate=SAMPLE_RATE,
            temperature=self.predictor.temperature,
            whole_seconds=self.predictor.whole_seconds,
            device=str(self.predictor.device),
            version=__version__,
            max_megabytes=self.limits.megabytes,
            max_seconds=self.limits.audio_seconds,
            max_windows=MAX_WINDOWS,
            adapted_to=self.predictor.adapted_to,
            synthetic=self.predictor.synthetic,
        )

    async def predict(self, file: BinaryIO, windows: WindowConfig | None) -> Prediction:
        """The prediction of a recording; raises HTTPException 422 with the reason if there is none.

        `windows` are sliding windows; without them a recording is predicted whole, and one longer
        than the longest window in windows of that length. Raises HTTPException 503 if too many
        recordings are waiting.
        """
        whole = self.predictor.whole_seconds
        config = windows or WindowConfig(whole, whole)
        if problem := self.explain_window(config):
            raise HTTPException(422, problem)
        async with self.decoders.short.enter():
            recording = await self._predict_short(file, config)
        if recording is None:
            recording = await self._predict_long(file, config)
        result = self.predictor.conclude(recording)
        if isinstance(result, Failure):
            raise unusable(result.error)
        self.telemetry.audio.inc(result.seconds)
        return result

    def explain_window(self, config: WindowConfig) -> str:
        """Why the model cannot take such windows; empty if it can."""
        whole = self.predictor.whole_seconds
        too_long = config.window > whole
        return f"window: the model takes at most {whole:g} s at once" if too_long else ""

    async def _predict_short(self, file: BinaryIO, config: WindowConfig) -> PendingRecording | None:
        """The recording with its predictions; None if it or its windows make a long one."""
        warnings: list[str] = []

        def read(blocks: Iterator[Waveform]) -> tuple[PendingRecording, list[Window]]:
            upload, seconds, windows = UploadWindows.cut(blocks, config, warnings), 0.0, []
            for window in upload.coming:
                windows.append(window)
                seconds += window.end - window.start
                if seconds > SHORT_SECONDS:
                    raise LongRecording
            return upload.recording, windows

        try:
            recording, windows = await self.decoders.read_short(file, read, warnings)
        except LongRecording:
            return None
        await self._evaluate(recording, windows)
        return recording

    async def _predict_long(self, file: BinaryIO, config: WindowConfig) -> PendingRecording:
        """The recording with its predictions; windows are decoded while others are evaluated."""
        warnings: list[str] = []
        async with self.decoders.open_long(file, warnings) as decoding:
            upload = UploadWindows.cut(decoding.blocks, config, warnings)

            async def read() -> list[Window]:
                return await decoding.run(lambda: upload.read(self.batch_size))

            windows = await read()
            while windows:
                async with asyncio.TaskGroup() as tasks:
                    following = tasks.create_task(read())
                    tasks.create_task(self._evaluate(upload.recording, windows))
                windows = following.result()
        return upload.recording

    async def _evaluate(self, recording: PendingRecording, windows: list[Window]) -> None:
        """Add the predictions of windows to their recording.

        One recording submits no more at a time than the network takes at once, so that several
        recordings take turns.
        """
        waveforms = [window.waveform for window in windows]
        size = self.predictor.at_once(waveforms) if windows else 1
        for start in range(0, len(windows), size):
            rows = await self.probabilities(waveforms[start : start + size])
            for window, row in zip(windows[start : start + size], rows, strict=True):
                recording.add(window, row)

    async def probabilities(self, waveforms: Sequence[Waveform]) -> list[Row]:
        """Probabilities (classes,) of each 16 kHz waveform (time,), batched with other requests."""
        answers = [asyncio.wrap_future(self.batcher.submit(each)) for each in waveforms]
        return await asyncio.gather(*answers)

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Evaluate a second of noise first, so that the first request is as fast as the others."""
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
        await self.probabilities([noise])
        LOG.info("ready")
        yield
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Evaluate what was submitted, and end the threads."""
        self.batcher.close()
        self.decoders.close()


def limit_windows(windows: Iterator[Window]) -> Iterator[Window]:
    """The windows of a recording; raises UserError if there are too many."""
    for count, window in enumerate(windows, 1):
        if count > MAX_WINDOWS:
            raise UserError(f"it has more than {MAX_WINDOWS} windows; choose a longer hop")
        yield window


def unusable(reason: object) -> HTTPException:
    return HTTPException(422, f"the recording cannot be used: {reason}")
