"""The address a request came from, as far as it can be believed."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from werkzeug.wrappers import Request

from perdura.settings import Settings


def address_of(request: Request, settings: Settings) -> str | None:
    """The client's address: what the outermost of our own proxies saw, never what the client says of itself."""
    seen = request.remote_addr
    if settings.proxies:
        forwarded = [part.strip() for part in ",".join(request.headers.getlist("X-Forwarded-For")).split(",")]
        if len(forwarded) >= settings.proxies:
            seen = forwarded[-settings.proxies]
    return _spelt(seen or "")


@lru_cache(maxsize=1024)
def _spelt(seen: str) -> str | None:
    """An address as it is usually written; None for what is none."""
    try:
        return str(ipaddress.ip_address(seen))
    except ValueError:
        return None
