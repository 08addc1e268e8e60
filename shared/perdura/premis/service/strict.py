"""Strict mode: types and outcomes must be terms of a vocabulary (premis.md 2.4)."""

from __future__ import annotations

from perdura.premis import vocabulary
from perdura.premis.model import Agent, Event
from perdura.premis.service.call import Call, Refused, shown

_SEED = frozenset({"Personal", "Organization", "Event", "Software"})
"""Types of agents that the seed service knows."""


def check(call: Call, event: Event) -> None:
    """Raises Refused 422 for a value that is in no vocabulary, where the log is strict."""
    if not call.settings.premis_strict:
        return
    if event.type not in vocabulary.known_values(vocabulary.EVENT_TYPE):
        raise Refused(422, f"eventType {shown(event.type)!r} is in no vocabulary known here.")
    for outcome in event.outcomes:
        if outcome.outcome and outcome.outcome not in vocabulary.known_values(vocabulary.EVENT_OUTCOME):
            raise Refused(422, f"eventOutcome {shown(outcome.outcome)!r} is in no vocabulary known here.")


def check_agent(call: Call, agent: Agent) -> None:
    """The same of an agent."""
    if call.settings.premis_strict and agent.type not in vocabulary.known_values(vocabulary.AGENT_TYPE) | _SEED:
        raise Refused(422, f"agentType {shown(agent.type)!r} is in no vocabulary known here.")
