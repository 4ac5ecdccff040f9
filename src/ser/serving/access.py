"""Who may use a service: its token, host names and origins."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ser.errors import UserError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Without a token: probes, and pages that hold no data. The requests of these pages need the token.
OPEN_PATHS = frozenset({"/", "/health", "/ready", "/docs", "/openapi.json"})
OPEN_FOLDERS = ("/static-offline-docs/", "/web/")


@dataclass(frozen=True)
class Access:
    """Conditions of access; the defaults admit everybody.

    `hosts` are the host names that requests may be addressed to (None: any). A page of another
    site that resolves its own name to this machine is refused by them. `origins` are the origins
    of pages that may read the answers (CORS).
    """

    token: str | None = None
    hosts: frozenset[str] | None = None
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is not None and not self.token.strip():
            raise UserError("--token (or SER_TOKEN) is empty: set one, or leave it out.")
        for origin in self.origins:
            check_origin(origin)

    def accepts_token(self, token: str) -> bool:
        if self.token is None:
            return True
        # JSON and environment variables can hold characters that UTF-8 has no bytes for.
        given, own = (each.encode("utf-8", "surrogatepass") for each in (token, self.token))
        return secrets.compare_digest(given, own)

    def accepts_header(self, authorization: str) -> bool:
        """Whether an Authorization header, as decoded from Latin-1, holds the token."""
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("latin-1").decode("utf-8", "replace")
        return self.token is None or (scheme.lower() == "bearer" and self.accepts_token(given))

    def accepts_host(self, header: str) -> bool:
        return self.hosts is None or host_name(header) in self.hosts

    def accepts_origin(self, origin: str | None, host: str) -> bool:
        """Whether a page of this origin may open a WebSocket; programs send no origin.

        Browsers apply no same-origin policy to WebSockets, so the server has to.
        """
        if origin is None or origin in self.origins or "*" in self.origins:
            return True
        try:
            site = urlsplit(origin).netloc.lower()
        except ValueError:  # malformed
            return False
        named = self.hosts is not None and host_name(site) in self.hosts - LOOPBACK
        return bool(site) and (site == host.lower() or named)


def is_open(path: str) -> bool:
    """Whether a path below the root path needs no token."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def host_name(header: str) -> str:
    """The host name in a Host header, or an empty string if it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        return parts.hostname or "" if parts.username is None else ""
    except ValueError:
        return ""


def name_hosts(host: str, allowed: Iterable[str] = ()) -> frozenset[str] | None:
    """The host names that a service on this address answers to; None for any.

    A service on a loopback address answers to its loopback names and to the `allowed` ones.
    """
    names = frozenset(name.strip("[]").lower() for name in allowed)
    if host not in LOOPBACK and not names:
        return None
    return LOOPBACK | names


def check_origin(origin: str) -> None:
    try:
        parts = urlsplit(origin)
        whole = f"{parts.scheme}://{parts.netloc}"
        good = origin == "*" or (parts.scheme in ("http", "https") and origin == whole)
    except ValueError:  # malformed
        good = False
    if not good:
        raise UserError(f"--cors-origin={origin}: give SCHEME://HOST[:PORT] without a path, or *.")
