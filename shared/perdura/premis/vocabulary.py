"""Controlled vocabularies of PREMIS as shipped data: Library of Congress and UNT terms (premis.md 2.4).

They feed labels, choices and aliases; any other value is accepted everywhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from perdura.premis.model import Term

EVENT_TYPE = "eventType"
EVENT_OUTCOME = "eventOutcome"
AGENT_TYPE = "agentType"
AGENT_ROLE = "eventRelatedAgentRole"


@dataclass(frozen=True, slots=True)
class Entry:
    """One term of a vocabulary."""

    code: str
    label: str
    uri: str


@cache
def _data() -> dict[str, Any]:
    text = files("perdura.premis").joinpath("data/vocabularies.json").read_text("utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


@cache
def entries(vocabulary: str) -> tuple[Entry, ...]:
    """The Library of Congress terms of `eventType`, `eventOutcome`, `agentType` or `eventRelatedAgentRole`."""
    return tuple(Entry(**each) for each in _data()["loc"][vocabulary]["terms"])


@cache
def term(vocabulary: str, text: str) -> Term:
    """The Library of Congress term of that label or code, with its authority; raises KeyError if there is none."""
    found = next((each for each in entries(vocabulary) if text in (each.label, each.code)), None)
    if found is None:
        raise KeyError(f"{text!r} is no term of {vocabulary}")
    base = found.uri.rsplit("/", 1)[0]
    return Term(found.label, authority=vocabulary, authority_uri=base, value_uri=found.uri)


def event_type(text: str) -> Term:
    """The eventType term of that label or code: `event_type("fixity check")`."""
    return term(EVENT_TYPE, text)


@cache
def known_values(vocabulary: str) -> frozenset[str]:
    """Every spelling of a vocabulary's terms: labels, codes, URIs, and UNT's values."""
    values = {text for each in entries(vocabulary) for text in (each.code, each.label, each.uri)}
    return frozenset(values | {each["uri"] for each in _unt(vocabulary)})


@cache
def label(value: str) -> str:
    """What people read for a value: the label of a known URI, else the value itself, in full."""
    loc = (each for name in _data()["loc"] for each in entries(name))
    found = next((each.label for each in loc if each.uri == value), None)
    unt = (each for name in _data()["unt"] for each in _unt(name))
    return found or next((each["label"] for each in unt if each["uri"] == value), value)


def default_choices(vocabulary: str) -> tuple[tuple[str, str], ...]:
    """(value, label) pairs of the search forms, unless configured: UNT's event types and outcomes."""
    return tuple((each["uri"], each["label"]) for each in _unt(vocabulary))


def is_success(outcome: str) -> bool:
    """Whether an outcome says success in any of the vocabularies in use."""
    return outcome in ("success", "suc", "pass") or outcome.endswith(("#success", "/suc", "pass"))


def _unt(vocabulary: str) -> list[dict[str, str]]:
    return [each for each in _data()["unt"].get(vocabulary, []) if "label" in each]
