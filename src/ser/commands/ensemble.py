"""`ser ensemble`"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ser.errors import UserError, require
from ser.system.terminal import say


class Weights(StrEnum):
    equal = "equal"
    validation = "validation"


def ensemble(
    members: Annotated[list[str], typer.Argument(help="Run folders or .ckpt files, at least two.")],
    output: Annotated[Path, typer.Option(help="Folder of the ensemble; it must not exist.")],
    weights: Annotated[
        Weights, typer.Option(help="validation: in proportion to the val UAR above chance.")
    ] = Weights.equal,
) -> None:
    """Combine trained models into one, whose probabilities are the mean of theirs."""
    require(len(members) > 1, "members", len(members), "name at least two")
    if output.exists():
        raise UserError(f"--output={output} exists: name a new folder")
    from ser.inference import ensemble as averaging  # seconds of import
    from ser.inference.load import require_checkpoint
    from ser.models.checkpoint import Checkpoint

    opened = []
    for member in members:
        opened.append(Checkpoint.open(require_checkpoint(member)))
        if opened[-1].path.resolve() in (each.path.resolve() for each in opened[:-1]):
            raise UserError(f"{member} is given twice: name each member once")
    labels = [each.metadata.labels for each in opened]
    averaging.check_labels(labels, members)
    shares = tuple(1 / len(members) for _ in members)
    if weights == Weights.validation:
        scores = [each.validation.uar for each in opened]
        shares = averaging.weigh_by_validation(scores, len(labels[0]))
    averaging.Ensemble(tuple(str(each.path) for each in opened), shares).write(output)
    for member, share in zip(members, shares, strict=True):
        say(f"{share:6.1%}  {member}")
    say(f"Written: {output}")
