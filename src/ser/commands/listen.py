"""`ser listen`"""

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from ser.commands.options import Ckpt, Computing, Device, Raw, Speaker, warn_of_synthetic
from ser.config.precision import Precision
from ser.inference.settings import PredictorConfig, WindowConfig
from ser.system.terminal import say

if TYPE_CHECKING:
    from ser.inference.microphone import LiveResult

BAR = 20  # characters of a probability of 1


def listen(
    ckpt: Ckpt,
    window: Annotated[float, typer.Option(help="Length of the windows in seconds.")] = 3.0,
    hop: Annotated[
        float | None, typer.Option(help="Seconds between windows; default: 1, or a shorter window.")
    ] = None,
    input: Annotated[  # noqa: A002 (the name of the option)
        str | None, typer.Option(help="Name or number of the microphone.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after this time; default: at Ctrl-C.")
    ] = None,
    device: Device = "auto",
    precision: Computing = Precision.auto,
    raw: Raw = False,
    speaker: Speaker = None,
) -> None:
    """Predict the emotion while you speak into the microphone.

    On a terminal, one line per window; elsewhere, one line of JSON.
    """
    config = WindowConfig.live(window, hop)
    say(f"Loading {ckpt} ...", error=True)  # before the imports, which take seconds
    from ser.inference.microphone import import_sounddevice, open_microphone
    from ser.inference.microphone import listen as results

    import_sounddevice()  # before the model, to fail early
    predictor = PredictorConfig(ckpt, device, raw, precision, speaker=speaker).load()
    predictor.check_windows(config)
    warn_of_synthetic(predictor.synthetic)
    show = show_line if sys.stdout.isatty() else as_json
    with suppress(KeyboardInterrupt), open_microphone(input) as microphone:
        say("Speak; press Ctrl-C to stop.", error=True)
        for result in results(microphone, predictor, config, seconds):
            print(show(result), flush=True)


def show_line(result: "LiveResult") -> str:
    """A line such as "3.0 s  angry       81% ████████████████  latency 0.12 s"."""
    note = f"  {result.skipped} windows skipped" if result.skipped else ""
    latency = f"latency {result.latency:.2f} s{note}"
    if result.prediction is None:
        return f"{result.end:6.1f} s  {'(silence)':<11} {'':4} {'':{BAR}}  {latency}"
    emotion = result.prediction.emotion
    shown = "(not confident)" if result.abstained else emotion
    share = result.prediction.probabilities[emotion]
    bar = f"{'█' * round(BAR * share):{BAR}}"
    return f"{result.end:6.1f} s  {shown:<11} {share:4.0%} {bar}  {latency}"


def as_json(result: "LiveResult") -> str:
    found = result.prediction
    probabilities = found and {name: round(p, 6) for name, p in found.probabilities.items()}
    return json.dumps(
        {
            "start": result.start,
            "end": result.end,
            "emotion": None if result.abstained or found is None else found.emotion,
            "probabilities": probabilities,
            **({"abstained": True} if result.abstained else {}),
            "latency": round(result.latency, 3),
            "skipped": result.skipped,
        },
        ensure_ascii=False,
    )
