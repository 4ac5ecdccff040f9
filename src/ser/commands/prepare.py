"""`ser prepare`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ser.commands.options import ConfigDir, Overrides, refuse_settings
from ser.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

CARD = Path("data/card")


def prepare(
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option(help="Folder of the data card and the manifest.")] = CARD,
    config_dir: ConfigDir = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Decode all files again; report changed ones.")
    ] = False,
) -> None:
    """Download, decode, clean and split the data ahead of training, and write a data card."""
    from ser.config.compose import compose_command
    from ser.config.train import TrainConfig

    refuse_settings(overrides, output_dir="the folder is set by --output", ckpt="it trains nothing")
    config = compose_command("train", overrides or [], TrainConfig, config_dir)
    from ser.preparation import (
        prepare as preparation,  # heavy, so only after the config has been checked
    )
    from ser.preparation.manifest import keeping_dropped
    from ser.reports import data_card
    from ser.system.terminal import show_logs

    show_logs()
    with keeping_dropped(output):
        manifest = preparation.prepare(config.data, config.split)
    if verify:
        check_unchanged(manifest.utterances)
    card = data_card.DataCard(manifest, config.data, config.split)
    data_card.show(card)
    data_card.write(card, output)
    print(f"Written: {output / 'data_card.html'}, data_card.md, manifest.csv, dropped.csv")


def check_unchanged(utterances: "pd.DataFrame") -> None:
    """Raise UserError if files have other samples than the cache says."""
    from ser.preparation.verify import verify

    changed = verify(utterances)
    if changed:
        examples = "; ".join(f"{each.path}: {each.problem}" for each in changed[:3])
        raise UserError(
            f"{len(changed):,} of {len(utterances):,} files changed, but not their size and"
            f" modification time ({examples}). Run `touch` on them and prepare the data again."
        )
