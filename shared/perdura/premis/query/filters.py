"""What a page of events is asked for by: filters, orders, places."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

PAGE = 200


class Order(StrEnum):
    """What events are ordered by; the identifier is the tie-break of all but the order of logging."""

    DATE = "event_date_time"
    IDENTIFIER = "event_identifier"
    TYPE = "event_type"
    OUTCOME = "event_outcome"
    ADDED = "event_added"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a reader may not see: SQL (`%s` marks its values) that gives the ids of the hidden Archives.

    Events that name one of them, in whatever case, do not exist for the reader.
    """

    hidden: str
    values: tuple[Any, ...] = ()

    @property
    def events(self) -> str:
        """SQL that gives rows of `premis_object` of hidden events, as `o`; an event may have several."""
        return f"FROM (WITH hidden AS (SELECT h.id::text AS name FROM ({self.hidden}) AS h(id)) {_NAMED}) o"  # noqa: S608


# Names are kept as they were sent. The second half is read from ix_premis_object_any_case, whose condition it repeats.
_NAMED = """
    SELECT sequence, at, kind_id FROM premis_object WHERE object IN (SELECT name FROM hidden)
    UNION ALL
    SELECT sequence, at, kind_id FROM premis_object
    WHERE length(object) = 36 AND object <> lower(object) AND lower(object) IN (SELECT name FROM hidden)
"""


@dataclass(frozen=True, slots=True)
class Filter:
    """What events must match, all of it. `type` and `outcome` are parts of values, the others whole values.

    `start` is inclusive, `end` exclusive. `named_object` also matches the bare name of an ARK. `sight` leaves out what
    its reader may not see.
    """

    type: str | None = None
    outcome: str | None = None
    exact_type: str | None = None
    exact_outcome: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    object: str | None = None
    named_object: str | None = None
    agent: str | None = None
    sight: Sight | None = None

    @property
    def linked(self) -> bool:
        """Whether only events that name an object or an agent match."""
        return any(each is not None for each in (self.object, self.named_object, self.agent))

    @property
    def of_kind(self) -> bool:
        """Whether type or outcome matter."""
        return any(each is not None for each in (self.type, self.outcome, self.exact_type, self.exact_outcome))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: after (or before) an event given by its order key."""

    key: tuple[Any, ...]
    backwards: bool = False
