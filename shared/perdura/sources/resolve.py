"""What a harvest would fetch, shown before anything is fetched (`POST /api/v1/harvests/resolve`)."""

from __future__ import annotations

from perdura.settings import Settings
from perdura.sources import protocols
from perdura.sources.catalogue import recognise
from perdura.sources.plan import Plan


def preview(text: str, settings: Settings, *, token: str | None = None) -> Plan:
    """Recognise a URL, DOI or id, ask the upstream what is there, and say what a harvest would do. Nothing is stored.

    Raises UnknownSource, UpstreamRefused (not found, deleted, closed) and UpstreamUnavailable.
    """
    record = recognise(text, settings)
    with protocols.client_for(record, settings, token=token) as client:
        return protocols.plan(record, client)
