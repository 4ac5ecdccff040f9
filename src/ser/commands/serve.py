"""`ser serve`"""

import sys
from typing import Annotated

import typer

from ser.commands.options import (
    AllowedHost,
    BatchSize,
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
    Speeds,
    Token,
    Waiting,
    speeds_of,
)
from ser.config.precision import Precision
from ser.errors import optional_dependency
from ser.inference.settings import PredictorConfig
from ser.system.terminal import say

Timeout = Annotated[
    float, typer.Option(help="Maximum seconds from the last byte of a request to its answer.")
]
UploadTimeout = Annotated[float, typer.Option(help="Maximum seconds to receive a request body.")]
Decoders = Annotated[
    int, typer.Option(help="Short recordings decoded at once, plus as many long ones.")
]
LiveSessions = Annotated[int, typer.Option(help="Maximum number of live sessions at once.")]
CorsOrigin = Annotated[
    list[str] | None,
    typer.Option(help="Origin whose pages may read responses; repeatable."),
]


def serve(
    ckpt: Ckpt,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token: Token = None,
    max_megabytes: Megabytes = 25,
    max_seconds: Seconds = 600,
    max_waiting: Waiting = 64,
    timeout: Timeout = 60,
    upload_timeout: UploadTimeout = 120,
    max_decoders: Decoders = 2,
    max_live: LiveSessions = 8,
    cors_origin: CorsOrigin = None,
    allowed_host: AllowedHost = None,
    root_path: RootPath = "",
    batch_size: BatchSize = 16,
    device: Device = "auto",
    precision: Computing = Precision.auto,
    raw: Raw = False,
    speaker: Speaker = None,
    speed: Speeds = None,
) -> None:
    """Serve predictions over HTTP and WebSocket; /docs describes the API."""
    from ser.serving.logs import LOG, catch_native_output, log_as_json

    catch_native_output()
    log_as_json()
    LOG.info("loading", extra={"facts": {"ckpt": ckpt}})  # before the imports, which take seconds
    with optional_dependency("serve"):
        from ser.serving import access, limits, server
        from ser.serving.app import create_app

    log_as_json()  # what was imported logs in its own format
    bounds = limits.Limits(
        max_megabytes, max_seconds, max_waiting, timeout, upload_timeout, max_decoders, max_live
    )
    hosts = access.name_hosts(host, allowed_host or ())
    admitted = access.Access(token, hosts, tuple(cors_origin or ()))
    with server.listen(host, port) as listening:
        if token is None and host not in access.LOOPBACK:
            LOG.warning(f"anyone who can reach {host} can use the service; set --token")
        config = PredictorConfig(
            ckpt, device, raw, precision, speeds=speeds_of(speed), speaker=speaker
        )
        predictor = config.load()
        service = create_app(
            predictor, bounds, admitted, batch_size=batch_size, root_path=root_path
        )
        address = server.name_address(listening, root_path)
        LOG.info("listening", extra={"facts": {"address": address}})
        if sys.stderr.isatty():  # the log is JSON, for programs
            say(f"Open {address}/docs in a browser; press Ctrl-C to stop.", error=True)
        server.run(service, listening, timeout)
