"""What strangers may know of the history of a published Archive: what was done to it, when, by which software, and how
it ended.

What a person wrote (why something was restricted, notes of a withdrawal), accounts, names of files and of other
packages stand in the log for those who may read it (`GET /api/v1/archives/{id}/events`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from perdura.premis.model import FAILURE, SUCCESS, WARNING, Event, Identifier, Outcome

PUBLIC = frozenset(
    {
        "accession",
        "capture",
        "compression",
        "creation",
        "decompression",
        "digital signature generation",
        "digital signature validation",
        "dissemination",
        "encryption",
        "fixity check",
        "format identification",
        "information package creation",
        "information package splitting",
        "ingestion",
        "ingestion end",
        "ingestion start",
        "message digest calculation",
        "metadata extraction",
        "metadata modification",
        "migration",
        "modification",
        "normalization",
        "packing",
        "quarantine",
        "recovery",
        "replication",
        "transfer",
        "unpacking",
        "unquarantine",
        "validation",
        "virus check",
    }
)
"""Types of events (Library of Congress, eventType) that tell of the keeping; what persons decide is none of them."""

TERMS = frozenset({SUCCESS, FAILURE, WARNING})
"""Outcomes as they are told; who hands in events may have written anything there, and in their identifiers."""

ROLES = frozenset({"executing program", "implementer", "validator", "source", "outcome"})
"""Roles of software and of packages as they are told (Library of Congress)."""


def public(events: Iterable[Event], known: Collection[str]) -> Iterator[Event]:
    """The events that strangers may know, without what is not theirs; `known` are the identifiers they know."""
    for event in events:
        if event.type in PUBLIC:
            yield replace(
                event,
                details=(),
                outcomes=tuple(Outcome(told.outcome if told.outcome in TERMS else "") for told in event.outcomes),
                agents=tuple(_plain(agent) for agent in event.agents if agent.type == "software"),
                objects=tuple(_plain(each) for each in event.objects if each.type == "UUID" and each.value in known),
                identifier_type="UUID",
                identifier=None,
                identifier_attributes=(),
                attributes=(),
            )


def _plain(told: Identifier) -> Identifier:
    return Identifier(told.type, told.value, tuple(role for role in told.roles if role in ROLES))
