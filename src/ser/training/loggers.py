"""One interface to the experiment loggers: figures, audio, text and hyperparameters.

A logger that cannot store a kind of value is skipped.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from lightning import Trainer
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.errors import optional_dependency
from ser.training.logs import log_settings

DPI = 200  # of figures: TensorBoard scales them to its columns, which blurs small text


class TrackioLogger(Logger):
    """Scalars, figures and hyperparameters in trackio, which stores them locally by default."""

    def __init__(self, project: str, name: str | None = None) -> None:
        super().__init__()
        self._project, self._name = project, name
        self._run: Any = None

    @property
    def name(self) -> str:
        return self._project

    @property
    def version(self) -> str | None:
        return self._name

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The trackio run, started at its first use."""
        if self._run is None:
            with optional_dependency("trackio"):
                import trackio  # pyright: ignore[reportMissingImports]  # an extra
            self._run = trackio.init(project=self._project, name=self._name)
        return self._run

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.experiment.config.update(dict(params))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._run is not None:
            self._run.finish()


def log_figure(trainer: Trainer, name: str, figure: Figure) -> None:
    """Log a figure at the current step with every logger that stores figures."""
    step = trainer.global_step
    figure.set_dpi(DPI)
    for logger in active(trainer):
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(name, figure, step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [render(figure)], step=step)
        elif isinstance(logger, MLFlowLogger):
            file = f"{name}/{step:06}.png"
            logger.experiment.log_image(logger.run_id, render(figure), artifact_file=file)
        elif isinstance(logger, TrackioLogger):
            import trackio  # pyright: ignore[reportMissingImports]

            logger.experiment.log({name: trackio.Image(render(figure))}, step=step)


def log_audio(trainer: Trainer, name: str, clips: Mapping[str, Waveform]) -> None:
    """Log waveforms (time,) at 16 kHz by their captions."""
    step = trainer.global_step
    for logger in active(trainer):
        if isinstance(logger, TensorBoardLogger):
            for caption, waveform in clips.items():  # TensorBoard shows no text but the tag
                audible = np.clip(waveform[None], -1, 1)  # torch clips too, and prints a warning
                logger.experiment.add_audio(f"{name}/{caption}", audible, step, SAMPLE_RATE)
        elif isinstance(logger, WandbLogger) and clips:
            rates = [SAMPLE_RATE] * len(clips)
            logger.log_audio(
                name, list(clips.values()), step=step, sample_rate=rates, caption=list(clips)
            )


def log_text(trainer: Trainer, name: str, markdown: str) -> None:
    """Log a text in Markdown."""
    for logger in active(trainer):
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(name, markdown, trainer.global_step)
        elif isinstance(logger, MLFlowLogger):
            file = f"{name}/{trainer.global_step:06}.md"
            logger.experiment.log_text(logger.run_id, markdown, file)


def log_hyperparameters(trainer: Trainer, settings: Mapping[str, Any]) -> None:
    """Log flat hyperparameters before the first metrics, with which trackio stores them.

    TensorBoard's table of runs is written by `log_result`, because it needs a score.
    """
    for logger in active(trainer):
        if not isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(dict(settings))


def log_result(
    trainer: Trainer,
    settings: Mapping[str, Any],
    metric: str,
    score: float,
    changed: Collection[str],
) -> None:
    """Log the best validation score of a finished run, to TensorBoard with flat hyperparameters.

    TensorBoard sorts its columns by name and shows the first few, so it gets only those settings
    that are `changed`.
    """
    for logger in active(trainer):
        if isinstance(logger, TensorBoardLogger):
            chosen = {name: value for name, value in settings.items() if name in changed}
            log_settings(logger.experiment, chosen, f"best/{metric}", score)
        else:
            logger.log_metrics({f"best/{metric}": score}, step=trainer.global_step)
        logger.save()


def active(trainer: Trainer) -> Iterator[Any]:
    """The loggers of the first process; the others log nothing."""
    if trainer.is_global_zero:
        yield from trainer.loggers


def render(figure: Figure) -> np.ndarray:
    """The pixels of a figure (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
