"""Passes: signed links to content that expire, for those who may not come in by themselves.

A pass is for one Archive and one thing of it (a file, the zip, the AIP); it says until when it holds and is signed with
HMAC-SHA-256. Whoever has the link may use it until then: it opens what is restricted, under embargo or not published.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode
from uuid import UUID

from perdura.settings import Settings

LONGEST = timedelta(days=30)


def link(settings: Settings, archive: UUID, thing: str, until: datetime) -> str | None:
    """The address of a `thing` (`aip`, `files.zip`, `files/<path>`) with a pass; None where passes are not set up."""
    secret = settings.access_link_secret
    if secret is None:
        return None
    stamp = int(until.timestamp())
    query = urlencode({"until": stamp, "pass": _sign(secret.get_secret_value(), archive, thing, stamp)})
    return f"{settings.access_url.rstrip('/')}/archives/{archive}/{quote(thing, safe='/')}?{query}"


def holds(settings: Settings, archive: UUID, thing: str, until: str, given: str, now: datetime) -> bool:
    """Whether a pass is ours, for this thing, and has not expired."""
    secret = settings.access_link_secret
    if secret is None or not until.isascii() or not until.isdecimal() or len(until) > 12:
        return False
    expected = _sign(secret.get_secret_value(), archive, thing, int(until))
    genuine = hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))
    return genuine and int(until) >= now.timestamp()


def _sign(secret: str, archive: UUID, thing: str, until: int) -> str:
    return hmac.new(secret.encode(), f"{archive}\n{thing}\n{until}".encode(), hashlib.sha256).hexdigest()
