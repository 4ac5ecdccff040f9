"""The log of a service: one line of JSON per record.

It imports the standard library alone, so that a command can log before the heavy imports.
"""

import json
import logging
import os
import sys
import threading
import time
from functools import cache
from select import select

LOG = logging.getLogger("ser.requests")


class JsonFormatter(logging.Formatter):
    """Format each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=True)  # standard error may have any encoding


def log_as_json() -> None:
    """Send all logs and Python warnings to standard error as JSON lines.

    Libraries configure their loggers when they are imported: call it again after that. Of
    libraries only warnings and errors are logged, because uvicorn's informational lines hold
    addresses and query strings of clients.
    """
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):  # not a placeholder
            logger.handlers, logger.propagate = [], True
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.WARNING)
    logging.getLogger("ser").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addFilter(without_fault_of_client)
    logging.captureWarnings(True)


def without_fault_of_client(record: logging.LogRecord) -> bool:
    """Log text of a client that is not UTF-8 as a warning: uvicorn logs it with a traceback."""
    if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
        record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
    return True


@cache
def catch_native_output() -> None:
    """Log what native libraries print to standard error, such as decoders of damaged files.

    Python's own standard error stays as it is. Once per second the first line is logged, with the
    number of lines: one recording can cause thousands. To be called before `log_as_json`.
    """
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    threading.Thread(target=relay, args=[reading], name="native output", daemon=True).start()


def relay(reading: int, seconds: float = 1.0) -> None:
    """Log what arrives at a pipe until it is closed, at most once in this many seconds."""
    first, lines, logged, is_open = "", 0, -seconds, True
    while is_open:
        pause = max(0.0, logged + seconds - time.monotonic())
        if select([reading], [], [], pause if lines else None)[0]:
            chunk = os.read(reading, 2**16)
            is_open = bool(chunk)
            first = first or chunk.decode("utf-8", "replace").strip().partition("\n")[0]
            lines += chunk.count(b"\n")
        if lines and (not is_open or time.monotonic() - logged >= seconds):
            LOG.warning("native output", extra={"facts": {"text": first[:500], "lines": lines}})
            first, lines, logged = "", 0, time.monotonic()
