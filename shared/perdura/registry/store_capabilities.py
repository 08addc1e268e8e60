"""What the object store was found to do, when somebody last tried (`storage/capabilities.py`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, DateTime, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base
from perdura.storage.capabilities import Capabilities


class StoreCapability(Base):
    """The last probe of one endpoint: capability -> whether it is there."""

    __tablename__ = "store_capability"
    endpoint: Mapped[str] = mapped_column(Text, primary_key=True)
    found: Mapped[dict[str, bool]] = mapped_column(JSONB)
    probed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


_RECORD = text("""
    INSERT INTO store_capability (endpoint, found) VALUES (:endpoint, CAST(:found AS jsonb))
    ON CONFLICT (endpoint) DO UPDATE SET found = excluded.found, probed_at = clock_timestamp()
""")


def record(connection: Connection, endpoint: str | None, found: Capabilities) -> None:
    """Note what a store can do; an endpoint of None is AWS."""
    connection.execute(_RECORD, {"endpoint": endpoint or "aws", "found": json.dumps(asdict(found))})


def recorded(connection: Connection, endpoint: str | None) -> Mapping[str, bool] | None:
    """What was found at the last probe; None when nobody has tried yet."""
    found = connection.execute(
        text("SELECT found FROM store_capability WHERE endpoint = :endpoint"), {"endpoint": endpoint or "aws"}
    ).scalar_one_or_none()
    return None if found is None else dict(found)
