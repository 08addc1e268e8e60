"""Telling that PREMIS events were recorded, whoever sent them: `premis.recorded`, in the recording transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from perdura.cloudevents.build import build
from perdura.cloudevents.message import CloudEvent
from perdura.ids import new_id
from perdura.premis.model import Event
from perdura.registry import outbox

TYPE = "org.perdura.premis.recorded.v1"
SOURCE = "/perdura/premis-log"
MOST = 1000
"""Events named in one CloudEvent, which must stay small (serverless.md, fact 10)."""


def tell(connection: Connection, events: Sequence[Event], cause: CloudEvent | None = None) -> list[CloudEvent]:
    """Write `premis.recorded` for these events to the outbox; returns the CloudEvents to emit after the commit."""
    told = [announcement(events[begin : begin + MOST], cause, begin) for begin in range(0, len(events), MOST)]
    if told:
        outbox.write(connection, told)
    return told


def announcement(events: Sequence[Event], cause: CloudEvent | None = None, key: int = 0) -> CloudEvent:
    """The CloudEvent that tells of at most MOST events; `key` tells those of one cause apart."""
    return build(
        TYPE,
        {"events": [event.id for event in events]},
        source=SOURCE,
        at=datetime.now(UTC),
        cause=cause,
        key=key if cause else new_id(),
    )
