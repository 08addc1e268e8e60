"""How long the values of events and agents may be that come from outside."""

from __future__ import annotations

from collections.abc import Sequence

from perdura.premis.model import Agent, Event, Identifier
from perdura.premis.xml.parse import BadPremis

LONGEST_VALUE = 16_384
"""Characters that an identifier, type, role or outcome may have; details and notes have no limit of their own."""


def check_lengths(event: Event) -> None:
    """Raises BadPremis for a value that is longer than any that is taken from outside."""
    check_value("eventType", event.type)
    check_value("eventIdentifierType", event.identifier_type)
    for each in event.outcomes:
        check_value("eventOutcome", each.outcome)
    _check_identifiers("linkingAgent", event.agents)
    _check_identifiers("linkingObject", event.objects)


def check_agent_lengths(agent: Agent) -> None:
    """The same of an agent."""
    check_value("agentType", agent.type)
    for name in (agent.name, *agent.more_names):
        check_value("agentName", name)
    _check_identifiers("agent", (agent.identifier, *agent.more_identifiers))
    _check_identifiers("linking", [each for _, each in agent.links])


def _check_identifiers(stem: str, identifiers: Sequence[Identifier]) -> None:
    for each in identifiers:
        check_value(f"{stem}IdentifierType", each.type)
        check_value(f"{stem}IdentifierValue", each.value)
        for role in each.roles:
            check_value(f"{stem}Role", role)


def check_value(name: str, text: str) -> None:
    """The same of one value, which is called so."""
    if len(text) > LONGEST_VALUE:
        raise BadPremis(f"{name} {text[:200]!r}…: longer than {LONGEST_VALUE} characters.")
