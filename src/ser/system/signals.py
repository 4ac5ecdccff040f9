"""Signals other than Ctrl-C that ask a process to end."""

import signal

# SIGHUP (the terminal was closed) does not exist on Windows.
STOP_SIGNALS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
