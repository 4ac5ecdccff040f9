"""The connection to Ray: started on this machine, or that of a cluster."""

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from ser.errors import UserError, first_line

PROBE_SECONDS, CONNECT_SECONDS = 5, 60
# A client of HTTP/2 begins with this text and a frame of (no) settings, and so does the server.
HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
FRAME_HEADER, SETTINGS_FRAME = 9, b"\4"  # bytes; the type, which is the fourth of them
# Ray puts sockets into TMPDIR/ray/session_DATE_ID/sockets/; their paths have at most 107 bytes.
LONGEST_TMPDIR = 36


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to Ray, without its progress bars, warnings and usage statistics.

    Raises UserError if Ray does not start, or a cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.data import DataContext

    # Its warnings are about our own settings, and its failures are reported by us.
    logging.getLogger("ray.data").setLevel(logging.ERROR)

    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        check_tmpdir()
    try:
        with keeping_handler(signal.SIGTERM):
            if address is None:
                start_ray(None)
            else:
                probe(resolve(address))
                connect_in_time(address)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"Ray at {address or 'this machine'} does not answer ({first_line(error)}):"
            " check --address and RAY_ADDRESS; without them Ray starts on this machine"
        ) from error
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def keeping_handler(number: signal.Signals) -> Iterator[None]:
    """Restore the handler of a signal at the end of the block.

    `ray.init` replaces the handler of SIGTERM, and its core prints a stack trace.
    """
    handler = signal.getsignal(number)
    try:
        yield
    finally:
        known = handler is not None  # else it was not set by Python
        if known and threading.current_thread() is threading.main_thread():
            signal.signal(number, handler)


def start_ray(address: str | None) -> None:
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)


def check_tmpdir() -> None:
    """Raise UserError if sockets of Ray would have too long a path."""
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(folder)) > LONGEST_TMPDIR:
        raise UserError(
            f"the folder for temporary files is too long for the sockets of Ray: {folder}; set"
            " RAY_TMPDIR=/tmp"
        )


def probe(address: str) -> None:
    """Raise OSError unless a Ray listens at an address such as host:6379 or ray://host:10001.

    Ray itself would try for minutes. It speaks gRPC, so a server of Ray answers the first frame of
    HTTP/2 with its settings; an encrypted one is only connected to.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname is None or parts.port is None:
        return
    with socket.create_connection((parts.hostname, parts.port), PROBE_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return
        connection.settimeout(PROBE_SECONDS)
        connection.sendall(HTTP2_HELLO)
        answer = b""
        while len(answer) < FRAME_HEADER and (received := connection.recv(FRAME_HEADER)):
            answer += received
        if answer[3:4] != SETTINGS_FRAME:
            raise ConnectionError("another server listens there")


def resolve(address: str) -> str:
    """The address that `auto` stands for. Raises ConnectionError if there is none."""
    if address != "auto":
        return address
    from ray._private.services import canonicalize_bootstrap_address  # see docs/workarounds.md

    return str(canonicalize_bootstrap_address(address))


def connect_in_time(address: str) -> None:
    """Connect to a cluster; raises TimeoutError if it does not answer in time.

    Ray 2.60 has no timeout for a server that accepts connections and is not Ray.
    """
    failed: list[Exception] = []

    def connect() -> None:
        try:
            start_ray(address)
        except Exception as error:  # raised again in the calling thread
            failed.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {CONNECT_SECONDS} s")
    if failed:
        raise failed[0]


@dataclass(frozen=True)
class Share:
    """The number of workers, and the GPUs or else processor cores that each of them gets."""

    workers: int
    gpus: float | None = None
    cores: float | None = None


def share_out(device: str, workers: int | None) -> Share:
    """The share of each worker; by default there is one per GPU, or one per machine."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(node.get("GPU", 0) for node in nodes) if device != "cpu" else 0
    if gpus:
        count = workers or int(gpus)
        return Share(count, gpus=min(1.0, gpus / count))
    cores = [node["CPU"] for node in nodes if node.get("CPU")]
    count = workers or len(cores)
    return Share(count, cores=max(1, min(min(cores, default=1), sum(cores) // count)))
