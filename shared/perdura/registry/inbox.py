"""The inbox: each CloudEvent is worked on by one invocation at a time and finished once (serverless.md 3.4).

The claim is a transaction-level advisory lock held on the connection that will also commit the result. It costs no
row, needs no lease and no clean-up: when the worker dies its connection closes and the lock is free again. Between
statements the transaction holds no snapshot (READ COMMITTED) and no row, so it may stay open while a step works.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Connection, text

from perdura.cloudevents.message import CloudEvent


class Claim(StrEnum):
    """Whose turn it is."""

    OURS = "ours"
    BUSY = "busy"
    FINISHED = "finished"


STEP = "step "
"""What the key of a claim on a step begins with; its id follows."""

_CLAIM = text("""
    SELECT EXISTS (SELECT FROM inbox WHERE consumer = :consumer AND source = :source AND id = :id) AS finished,
           pg_try_advisory_xact_lock(hashtextextended(:key, 0)) AS locked
""")


def claim(connection: Connection, consumer: str, event: CloudEvent, key: str) -> Claim:
    """Try to become the one that works on `event`; `key` names what must not be worked on twice at once.

    The key of an event for a step is the step, so that two different events for one step exclude each other too.
    Another worker may finish the event between this statement's snapshot and its lock: then the guarded transition
    of the step, or the primary key of the inbox row, stops the second run from having any effect.
    """
    row = connection.execute(_CLAIM, {"consumer": consumer, "source": event.source, "id": event.id, "key": key}).one()
    if row.finished:
        return Claim.FINISHED
    return Claim.OURS if row.locked else Claim.BUSY
