"""The status call-back of `invenio-preservation-sync`: an InvenioRDM learns what became of its record.

The contract and its traps are in inveniordm.md 2: the slash at the end, 409 for what it knows already, 500 for
addresses over 255 characters, a new row for each call that lacks `revision_id` or `archive_timestamp`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from perdura.clients.receivers import Receipt, post

LONGEST = 255
RECEIVER = "/api/hooks/receivers/preservation/events/"
KNOWN_ALREADY = frozenset({409})


@dataclass(frozen=True, slots=True)
class Statement:
    """What is told of one record: `P` preserved, `I` processing, `F` failed, `D` deleted.

    `revision` is the record's own, the one that was harvested. Together with `archived_at` it identifies the statement,
    so both come from the package and never from the time of sending: sending again is harmless.
    """

    pid: str
    status: str
    revision: int
    harvested_at: datetime
    archived_at: datetime
    uri: str | None = None
    path: str | None = None
    description: Mapping[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The body of the call-back. An address that is too long is left out of its field and told in full beside."""
        description = dict(self.description)
        found: dict[str, Any] = {
            "pid": self.pid,
            "status": self.status,
            "revision_id": self.revision,
            "harvest_timestamp": self.harvested_at.astimezone(UTC).isoformat(),
            "archive_timestamp": self.archived_at.astimezone(UTC).isoformat(),
        }
        for name, value in (("uri", self.uri), ("path", self.path)):
            if value is not None and len(value) > LONGEST:
                description[name] = value
            elif value:
                found[name] = value
        return found | ({"description": description} if description else {})


def send(url: str, token: str, statement: Statement, transport: httpx.BaseTransport | None = None) -> Receipt:
    """Tell an InvenioRDM at `url` (its own address, or that of the receiver); raises the errors of `receivers`."""
    address = url if "/hooks/receivers/" in url else url.rstrip("/") + RECEIVER
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps(statement.json(), ensure_ascii=False).encode()
    return post(address, body, headers, repeated=KNOWN_ALREADY, transport=transport)
