"""What the AIP gateway finds damaged while it reads is not left in its log: it asks for a fixity check."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Engine

from perdura.cloudevents.build import build
from perdura.registry import outbox

SOURCE = "/perdura/aip-gateway"


def suspect(engine: Engine, package: UUID) -> None:
    """Ask for the copy of a package in the object store to be read and compared, once a day at most.

    The relay sends it: who is being answered waits for no broker.
    """
    now = datetime.now(UTC)
    request = {"package": package, "location": "object-store"}
    event = build("org.perdura.fixity.requested.v1", request, source=SOURCE, at=now, key=(package, now.date()))
    with engine.begin() as connection:
        outbox.write(connection, [event])
