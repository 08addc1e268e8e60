"""How long the object store itself refuses to delete an AIP."""

from __future__ import annotations

from datetime import datetime, timedelta

from perdura.ports import Ports


def retain_until(start: datetime, ports: Ports) -> datetime | None:
    """Until when the store is to refuse to delete an AIP made at `start`; None where no retention is wanted."""
    days = ports.settings.aip_retention_days
    return start + timedelta(days=days) if days else None
