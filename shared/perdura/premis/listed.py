"""Events as pages list them: what a row of the head says, turned into values only where a page shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from perdura.premis.log import kept_version, read
from perdura.premis.model import Event, rfc3339
from perdura.premis.xml import event_xml

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Listed(NamedTuple):
    """One event of a page. Times are microseconds since 1970 (UTC), outcomes JSON: the driver reads them fastest."""

    id: str
    identifier: str
    sequence: int
    at_micro: int
    recorded_micro: int
    changed_micro: int
    premis_version: str | None
    type: str
    outcome: str
    listed_outcomes: str
    objects: str
    xml: str

    @property
    def event_id(self) -> UUID:
        """The UUID of the event."""
        return UUID(self.id)

    @property
    def at(self) -> datetime:
        """The earliest instant that its date names."""
        return instant(self.at_micro)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Its distinct outcomes, in their order."""
        return _outcomes(self.listed_outcomes)

    @property
    def event(self) -> Event:
        """The event as a value, read from its XML."""
        return replace(read(self.xml, self.premis_version), at=self.at)

    def xml_in(self, version: str | None) -> str:
        """The event element in PREMIS `2.3` or `3.0`; None means as it was sent."""
        return self.xml if version in (None, kept_version(self.premis_version)) else event_xml(self.event, version)


def instant(micro: int) -> datetime:
    """An instant from microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micro)


@lru_cache(maxsize=1024)
def moment(micro: int) -> str:
    """The same as text (RFC 3339): the events of a batch share the moment they were recorded."""
    return rfc3339(instant(micro))


@lru_cache(maxsize=256)
def _outcomes(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


_COLUMNS = (
    "e.event_id::text, e.identifier, e.sequence, (extract(epoch FROM e.at) * 1000000)::bigint, "
    "(extract(epoch FROM e.recorded_at) * 1000000)::bigint, (extract(epoch FROM e.changed_at) * 1000000)::bigint, "
    "e.premis_version, k.type, coalesce(k.outcomes[1], ''), array_to_json(k.outcomes)::text, "
)
_FROM = " FROM premis_event e JOIN premis_kind k ON k.id = e.kind_id"

SELECT = f"SELECT {_COLUMNS} '', e.xml{_FROM}"
"""Start of a query whose rows are the fields of Listed, without its objects."""

SELECT_BARE = f"SELECT {_COLUMNS} e.objects, ''{_FROM}"
"""The same with the objects and without the XML."""
