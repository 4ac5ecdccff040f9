"""`ser demo`"""

import webbrowser
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from ser.commands.options import (
    AllowedHost,
    Ckpt,
    Computing,
    Device,
    Host,
    Megabytes,
    Port,
    Raw,
    RootPath,
    Seconds,
    Speaker,
    Token,
    Waiting,
)
from ser.config.precision import Precision
from ser.errors import optional_dependency
from ser.inference.settings import PredictorConfig
from ser.system.terminal import say


def demo(
    ckpt: Ckpt,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    token: Token = None,
    open: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,  # noqa: A002
    examples: Annotated[
        Path | None, typer.Option(help="Folder of recordings to offer as examples.")
    ] = None,
    max_megabytes: Megabytes = 25,
    max_seconds: Seconds = 600,
    max_waiting: Waiting = 8,
    allowed_host: AllowedHost = None,
    root_path: RootPath = "",
    device: Device = "auto",
    precision: Computing = Precision.auto,
    raw: Raw = False,
    speaker: Speaker = None,
) -> None:
    """Serve a web page that predicts files, recordings and live speech."""
    say(f"Loading {ckpt} ...")  # before the imports, which take seconds
    with optional_dependency("serve"):
        from ser.serving import access, limits, server
        from ser.serving.demo import create_demo
        from ser.serving.examples import find_examples

    bounds = limits.Limits(max_megabytes, max_seconds, max_waiting)
    admitted = access.Access(token, access.name_hosts(host, allowed_host or ()))
    with server.listen(host, port) as listening:
        if token is None and host not in access.LOOPBACK:
            say(f"Anyone who can reach {host} can use the demo; set --token.", error=True)
        predictor = PredictorConfig(ckpt, device, raw, precision, speaker=speaker).load()
        found = find_examples(predictor, ckpt, examples)
        page = create_demo(predictor, bounds, admitted, found, root_path)
        address = server.name_address(listening, root_path) + "/"
        if token is not None:
            address += f"#token={quote(token, safe='')}"
        say(f"Open {address} in a browser; press Ctrl-C to stop.")
        if open:
            webbrowser.open(address)
        server.run(page, listening, bounds.timeout)
