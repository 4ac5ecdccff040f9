"""`ser enroll`"""

from typing import Annotated

import typer

from ser.commands.options import MODEL, BatchSize, Device
from ser.errors import UserError, amount
from ser.system.terminal import say


def enroll(
    name: Annotated[str | None, typer.Argument(help="Name of the speaker.")] = None,
    clips: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, globs or tables of recordings.")
    ] = None,
    ckpt: Annotated[str | None, typer.Option(help=MODEL)] = None,
    forget: Annotated[
        str | None, typer.Option(metavar="NAME", help="Remove the files of this speaker.")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the enrolled speakers.")] = False,
    batch_size: BatchSize = 16,
    device: Device = "auto",
) -> None:
    """Enrol a speaker from unlabelled clips, to adapt predictions with --speaker NAME later.

    The file of a speaker holds statistics of the voice and no audio. It is
    personal data.
    """
    from ser.inference import enrolment

    chosen = [forget is not None, list_all, name is not None]
    if sum(chosen) != 1 or (name is not None) != bool(clips) or (name and ckpt is None):
        raise UserError(
            "use `ser enroll NAME CLIPS... --ckpt RUN`, `ser enroll --forget NAME` or"
            " `ser enroll --list`"
        )
    if forget is not None:
        count = enrolment.forget(forget)
        say(f"Removed {amount(count, 'file')} of speaker {forget}")
    elif list_all:
        for speaker in enrolment.list_speakers():
            say(f"{speaker.name}: {amount(speaker.statistics.count, 'clip')}, {speaker.model}")
    else:
        enrol(str(name), clips or [], str(ckpt), device, batch_size)


def enrol(name: str, clips: list[str], ckpt: str, device: str, batch_size: int) -> None:
    """Write the file of a speaker. Raises UserError if a clip cannot be used."""
    from ser.inference import enrolment, sources
    from ser.inference.adaptation import measure_speaker
    from ser.inference.clip_warnings import find_warnings
    from ser.inference.predictor import Predictor

    enrolment.check_name(name)
    predictor = Predictor.from_checkpoint(ckpt, device)
    standardization = predictor.standardization
    statistics = measure_speaker(predictor, list(sources.find_all(clips)), batch_size)
    for warning in find_warnings(standardization, statistics):
        say(f"Warning: {warning}", error=True)
    fingerprint = enrolment.fingerprint(standardization)
    path = enrolment.EnrolledSpeaker(name, ckpt, fingerprint, statistics).write()
    say(f"Enrolled {name} with {amount(statistics.count, 'clip')}: {path}")
    say(f"This file describes a voice; `ser enroll --forget {name}` removes it.")
