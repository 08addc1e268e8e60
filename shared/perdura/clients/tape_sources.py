"""Which addresses FTS may be given to read from: it shows them, whole, to every member of our VO (fts-cta.md 2.5)."""

from __future__ import annotations

from urllib.parse import urlsplit

from perdura.settings import Settings

LOCAL = ("localhost", "127.0.0.1", "::1")
UNSAFE = (
    "FTS reads AIPs through the AIP gateway, and PERDURA_TAPE_GATEWAY_URL is not set. Presigned URLs of the store "
    "would be open to every member of our VO at FTS; PERDURA_TAPE_PRESIGNED=true accepts that."
)


def may_presign(settings: Settings) -> bool:
    """Whether FTS may be given presigned URLs: where that is accepted, and where FTS runs on this machine."""
    host = urlsplit(settings.tape_fts_url or "").hostname or "localhost"
    return settings.tape_presigned or host in LOCAL
