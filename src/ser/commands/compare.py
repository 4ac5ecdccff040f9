"""`ser compare`"""

from pathlib import Path
from typing import Annotated

import typer

from ser.errors import UserError


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, report folders, or the folder of a sweep.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="Also write comparison.html and comparison.md here.")
    ] = None,
) -> None:
    """Compare runs: scores, intervals, and tests of the differences to the first run.

    The jobs of a sweep are compared by their validation scores.
    """
    from ser.reports import sweeps

    swept = [run for run in runs if sweeps.is_sweep(run)]
    if swept:
        if len(runs) > 1 or output is not None:
            raise UserError(
                f"{swept[0]} is a sweep, which is compared by validation scores: pass it alone and"
                " without --output, or pass the folders of evaluated runs"
            )
        sweeps.show(sweeps.read_sweep(swept[0]))
        return
    from ser.reports import comparison
    from ser.reports.runs import read_run
    from ser.system.terminal import say

    found = comparison.compare([read_run(run) for run in runs])
    comparison.show(found)
    if output is not None:
        comparison.write(found, output)
        say(f"Written: {output / 'comparison.html'}")
