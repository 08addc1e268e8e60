"""One CloudEvent 1.0.2 as a value; how it travels is the codec's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """Attributes and data of a CloudEvent (CloudEvents 1.0.2 §3).

    `data` is a JSON value when `datacontenttype` is JSON or absent, else bytes; None when there is none.
    `extensions` are the extension attributes by lower-case name, as text (`correlationid`, `traceparent` …).
    """

    id: str
    source: str
    type: str
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = "application/json"
    dataschema: str | None = None
    data: Any = None
    extensions: Mapping[str, str] = field(default_factory=dict)
