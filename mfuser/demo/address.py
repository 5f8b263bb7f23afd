"""Where the page is served: the address for the server, the one for a browser, and no proxy between this machine and
itself."""

from __future__ import annotations

import os

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_HERE = ("localhost", "127.0.0.1", "::1")


def bracketed(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets."""
    host = host.strip("[]")
    return f"[{host}]" if ":" in host else host


def to_open(host: str, port: int) -> str:
    """The address that opens the page in a browser of this machine.

    Args:
        host: what is served on; "0.0.0.0" and "::" are all addresses of the machine.
        port: of the server.

    Returns:
        A URL.
    """
    host = host.strip("[]")
    return f"http://{bracketed(_EVERYWHERE.get(host, host))}:{port}"


def without_proxy(host: str) -> None:
    """Reach this machine directly, whatever http_proxy says: Gradio asks its own server once when it starts.

    Args:
        host: what is served on; added to no_proxy with the names of this machine.
    """
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    known = [name.strip() for name in named.split(",") if name.strip()]
    known += [name for name in (*_HERE, host.strip("[]")) if name not in known]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(known)
