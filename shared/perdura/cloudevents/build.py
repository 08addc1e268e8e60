"""Builds our own CloudEvents: deterministic ids, correlation carried through (architecture §4)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from perdura.cloudevents.catalogue import CATALOGUE
from perdura.cloudevents.message import CloudEvent
from perdura.ids import derived_id
from perdura.tracing import traceparent

CARRIED = ("correlationid", "traceparent", "tracestate")
"""Extension attributes that go from a cause to its consequences; `traceparent` unchanged where nothing is traced."""


def build(
    event_type: str,
    data: Mapping[str, Any],
    *,
    source: str,
    at: datetime,
    archive: UUID | None = None,
    cause: CloudEvent | None = None,
    key: object = "",
) -> CloudEvent:
    """One CloudEvent of the catalogue. The same cause, type and `key` always give the same id.

    Raises pydantic.ValidationError when `data` does not fit the catalogue: a programming error.
    """
    model = CATALOGUE[event_type].data.model_validate(data)
    extensions = {}
    if cause is not None:
        extensions = {name: cause.extensions[name] for name in CARRIED if name in cause.extensions}
        extensions["causationid"] = cause.id
        extensions.setdefault("correlationid", cause.id)
    if (present := traceparent()) is not None:
        extensions["traceparent"] = present
    if archive is not None:
        extensions["partitionkey"] = str(archive)
    return CloudEvent(
        id=str(derived_id(cause.source if cause else source, cause.id if cause else "", event_type, key)),
        source=source,
        type=event_type,
        subject=f"archive/{archive}" if archive else None,
        time=at,
        data=model.model_dump(mode="json", exclude_none=True),
        extensions=extensions,
    )


def to_json(event: CloudEvent) -> dict[str, Any]:
    """The event as a JSON object, as it lies in the outbox (JSON event format 1.0.2)."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "datacontenttype": event.datacontenttype or "application/json",
        **({"subject": event.subject} if event.subject else {}),
        **({"time": event.time.isoformat()} if event.time else {}),
        **event.extensions,
        "data": event.data,
    }


_OWN = {"specversion", "id", "source", "type", "datacontenttype", "subject", "time", "data"}


def from_json(value: Mapping[str, Any]) -> CloudEvent:
    """The event that `to_json` wrote."""
    return CloudEvent(
        id=value["id"],
        source=value["source"],
        type=value["type"],
        subject=value.get("subject"),
        time=datetime.fromisoformat(value["time"]) if "time" in value else None,
        datacontenttype=value["datacontenttype"],
        data=value["data"],
        extensions={name: str(text) for name, text in value.items() if name not in _OWN},
    )


def carried(event: CloudEvent) -> dict[str, str]:
    """What has to be remembered of a cause, so that what it leads to can be traced to it later."""
    kept = {name: event.extensions[name] for name in CARRIED if name in event.extensions}
    return {"id": event.id, "source": event.source, "type": event.type, **kept}


def from_carried(value: Mapping[str, str]) -> CloudEvent:
    """The cause that `carried` remembered, without its data."""
    return CloudEvent(
        id=value["id"],
        source=value["source"],
        type=value["type"],
        extensions={name: value[name] for name in CARRIED if name in value},
    )
