"""What is lost with a container on tape: each of its Archives gets an event, and who watches it is told."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection

from perdura.cloudevents.build import build
from perdura.cloudevents.message import CloudEvent
from perdura.outcome import ArchiveView, Copy
from perdura.premis import log
from perdura.registry import outbox, tape_containers
from perdura.registry.tape_containers import LostWith
from perdura.steps import recall_events


def lost_together(
    connection: Connection,
    archive: ArchiveView,
    copies: Collection[Copy],
    function: str,
    at: datetime,
    cause: CloudEvent | None,
) -> None:
    """Record the loss of every AIP whose container was lost with one of these copies, in the caller's transaction.

    The CloudEvents, up to some thousand, are left to the relay.
    """
    lost = tape_containers.lost_with(connection, copies)
    if not lost:
        return
    events = [recall_events.lost_with(archive, at, each.uri, owner=each.archive, package=each.package) for each in lost]
    log.append(connection, events, actor=function)
    outbox.write(connection, [_told(archive, each, function, at, cause) for each in lost])


def _told(archive: ArchiveView, lost: LostWith, function: str, at: datetime, cause: CloudEvent | None) -> CloudEvent:
    return build(
        "org.perdura.fixity.failed.v1",
        {
            "archive": str(lost.archive),
            "package": str(lost.package),
            "location": "tape",
            "expected": dict(lost.checksums),
            "found": {},
        },
        source=f"/perdura/{function}",
        at=at,
        archive=lost.archive,
        cause=cause,
        key=(archive.step.id, archive.step.attempt, lost.package),
    )
