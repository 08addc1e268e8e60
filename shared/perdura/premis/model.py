"""A PREMIS event and agent as values (PREMIS 3.0 data dictionary, units 2 and 3).

Everything PREMIS 1.1 to 3.0 can say of an event has a place here, so that a view of any version can be derived.
Plain `str` is enough where nothing more is known; `Term` and `Detail` are strings that carry more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self, TypeVar, dataclass_transform
from uuid import UUID

SUCCESS = "success"
FAILURE = "fail"
WARNING = "warning"
"""Terms of the Library of Congress eventOutcome vocabulary."""

Attributes = tuple[tuple[str, str], ...]
"""XML attributes by name in Clark notation (`{http://www.w3.org/1999/xlink}href`, `simpleLink`)."""


T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """A dataclass that is a value: type checkers let nobody change it.

    Nothing hinders it at run time, because making a dataclass that is frozen then takes five times as long, and a
    batch makes six for every event.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


class Term(str):
    """A word of a controlled vocabulary: its text, and where the vocabulary defines it (PREMIS 2.3, 3.0)."""

    __slots__ = ("authority", "authority_uri", "value_uri")

    authority: str | None
    authority_uri: str | None
    value_uri: str | None

    def __new__(
        cls,
        text: str,
        *,
        authority: str | None = None,
        authority_uri: str | None = None,
        value_uri: str | None = None,
    ) -> Self:
        self = super().__new__(cls, text)
        self.authority = authority
        self.authority_uri = authority_uri
        self.value_uri = value_uri
        return self


class Detail(str):
    """A detail or note, with the extensions beside it; each extension is the XML inside one extension element.

    The text may be empty when only an extension was given.
    """

    __slots__ = ("extensions",)

    extensions: tuple[str, ...]

    def __new__(cls, text: str = "", extensions: tuple[str, ...] = ()) -> Self:
        self = super().__new__(cls, text)
        self.extensions = extensions
        return self


@value
class Identifier:
    """A linking identifier: its type, its value and the roles it has in this event."""

    type: str
    value: str
    roles: tuple[str, ...] = ()
    attributes: Attributes = ()


@value
class Outcome:
    """One eventOutcomeInformation: the outcome (may be empty) and the notes that explain it."""

    outcome: str = SUCCESS
    notes: tuple[str, ...] = ()


@value
class Event:
    """What happened (`type`) to which objects, by which agents, when, with which outcomes.

    `at` is the instant (aware); `date_text` the date as its sender wrote it, when that says more or less than an
    instant. `identifier` is the spelling of `id` that was sent. `version` is the PREMIS version it was sent in,
    and by default is shown in: `1.0`, `1.1`, `2.3` (any 2.x) or `3.0`; None for events of our own (3.0).
    """

    id: UUID
    type: str
    at: datetime
    details: tuple[str, ...] = ()
    outcomes: tuple[Outcome, ...] = (Outcome(),)
    agents: tuple[Identifier, ...] = ()
    objects: tuple[Identifier, ...] = ()
    identifier_type: str = "UUID"
    identifier: str | None = None
    identifier_attributes: Attributes = ()
    date_text: str | None = None
    version: str | None = None
    attributes: Attributes = ()

    @property
    def identifier_value(self) -> str:
        """The event identifier as it is shown."""
        return self.identifier if self.identifier is not None else str(self.id)

    @property
    def date(self) -> str:
        """The event date as it is shown."""
        return self.date_text if self.date_text is not None else rfc3339(self.at)

    @property
    def emitted_version(self) -> str:
        """The PREMIS version this event is shown in unless another is asked for: `2.3` or `3.0`."""
        return "3.0" if self.version is None or self.version == "3.0" else "2.3"


@value
class Agent:
    """A person, organisation or software that acts in events.

    `identifier` is the first one; `more_identifiers`, `more_names` and `extensions` are what else was sent.
    """

    identifier: Identifier
    name: str
    type: str
    notes: tuple[str, ...] = field(default=())
    version: str | None = None
    more_identifiers: tuple[Identifier, ...] = ()
    more_names: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    links: tuple[tuple[str, Identifier], ...] = ()
    """(element name, identifier): linkingEventIdentifier, linkingRightsStatementIdentifier, …"""
    premis_version: str | None = None
    attributes: Attributes = ()

    @property
    def emitted_version(self) -> str:
        """The PREMIS version this agent is shown in unless another is asked for: `2.3` or `3.0`."""
        return "3.0" if self.premis_version in (None, "3.0") else "2.3"


def rfc3339(instant: datetime) -> str:
    """An instant in UTC, `2024-03-05T16:39:49.250000Z`; without a fraction when it is zero."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
