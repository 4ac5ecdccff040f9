"""`ser export`"""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ser.commands.options import MODEL, Target
from ser.errors import UserError
from ser.system.terminal import say


def export(
    ckpt: Annotated[str, typer.Argument(help=MODEL)],
    to: Annotated[Target, typer.Option(help="hf: transformers; onnx: onnxruntime.")],
    output: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")],
    int8: Annotated[bool, typer.Option("--int8", help="Also write an 8-bit ONNX model.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Without temperature scaling (calibration).")
    ] = False,
    clips: Annotated[
        list[str] | None,
        typer.Option(
            help="Recordings to compare on; default: validation recordings of the run, or noise."
        ),
    ] = None,
    push: Annotated[str | None, typer.Option(help="Upload to OWNER/NAME on the hub.")] = None,
) -> None:
    """Export a trained model and check that its outputs are the same."""
    if to == Target.hf and int8:
        raise UserError("--int8 needs --to=onnx.")
    from ser.export import hf_export

    if push is not None:
        hf_export.require_token()
    say(f"Exporting {ckpt}, and comparing its outputs with the exported ones", error=True)
    if to == Target.hf:
        found = hf_export.export_hugging_face(ckpt, output, clips or [], raw=raw)
    else:
        from ser.export.onnx_export import export_onnx

        found = export_onnx(ckpt, output, clips or [], raw=raw, int8=int8)
    for name, parity in found.items():
        say(f"{output / name}: {parity}")
    say(f"Written: {output}")
    if to == Target.hf:
        say(f"Predict with it: {shlex.join(['ser', 'predict', 'FILES', '--ckpt', str(output)])}")
    if push is not None:
        say(f"Uploaded to {hf_export.push(output, push)}")
