"""A PREMIS event and agent as values (PREMIS 3.0 data dictionary, units 2 and 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

SUCCESS = "success"
FAILURE = "fail"
WARNING = "warning"
"""Terms of the Library of Congress eventOutcome vocabulary."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A linking identifier: its type, its value and the roles it has in this event."""

    type: str
    value: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One eventOutcomeInformation: the outcome and the notes that explain it."""

    outcome: str = SUCCESS
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """What happened (`type`) to which objects, by which agents, when, with which outcomes."""

    id: UUID
    type: str
    at: datetime
    details: tuple[str, ...] = ()
    outcomes: tuple[Outcome, ...] = (Outcome(),)
    agents: tuple[Identifier, ...] = ()
    objects: tuple[Identifier, ...] = ()


@dataclass(frozen=True, slots=True)
class Agent:
    """A person, organisation or software that acts in events."""

    identifier: Identifier
    name: str
    type: str
    notes: tuple[str, ...] = field(default=())
    version: str | None = None
