"""Dead letters that need no event in the log: requests for steps that are asked for again by themselves.

A dead letter is sealed for ever as a failure of preservation. While a store or an access system is away, the broker
gives up each request for a step, and the watchdog makes another: the step's timeline and the metrics tell of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.cloudevents.catalogue import CATALOGUE
from perdura.cloudevents.message import CloudEvent

_KNOWN = text("""
    SELECT EXISTS (SELECT FROM step WHERE id = :step AND (state NOT IN ('queued', 'running', 'waiting')
        OR poll_at IS NOT NULL OR EXISTS (SELECT FROM turn WHERE turn.step_id = step.id)))
""")


def asked_again(connection: Connection, event: CloudEvent) -> bool:
    """Whether nothing is lost with this request: its step is over, in a person's hands, or asked for again in time."""
    step = _step(event)
    return step is not None and bool(connection.execute(_KNOWN, {"step": step}).scalar_one())


def _step(event: CloudEvent) -> UUID | None:
    entry = CATALOGUE.get(event.type)
    if entry is None or not entry.request or not isinstance(event.data, Mapping):
        return None
    try:
        return UUID(str(event.data["step"]))
    except (KeyError, ValueError):
        return None
