"""A change put onto what is there: elements that were sent replace all of their kind, the others stay (premis.md 1.7).

Nothing is lost by a sender who knows an older PREMIS: where only the version of what was there holds all that stays,
the version stays too.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace

from perdura.premis.model import Agent, Event
from perdura.premis.xml import agent_from, agent_xml, event_from, event_xml, parse

_VERSIONS = ("2.3", "3.0")
_KINDS = (
    ("details", {"eventDetail", "eventDetailInformation"}),
    ("outcomes", {"eventOutcomeInformation"}),
    ("agents", {"linkingAgentIdentifier"}),
    ("objects", {"linkingObjectIdentifier"}),
)


def merged_event(old: Event, sent: Event, names: Set[str], *, identified: bool) -> tuple[Event, bool]:
    """(the event with what was sent in place of what it had, whether everything was sent).

    `names` are those of the elements that were sent, `identified` says whether its identifier was. The spelling of the
    identifier never changes.
    """
    identity: dict[str, object] = {"id": old.id, "identifier": old.identifier}
    kept = {name: getattr(old, name) for name, elements in _KINDS if not names & elements}
    if not identified:
        kept |= {"identifier_type": old.identifier_type, "identifier_attributes": old.identifier_attributes}
    if not sent.type:
        kept["type"] = old.type
    if not sent.date_text:
        kept |= {"at": old.at, "date_text": old.date_text}
    whole = replace(sent, **identity)  # type: ignore[arg-type]
    merged = replace(whole, **kept)
    if merged == whole:
        return merged, True
    version = _version(merged.emitted_version, old.emitted_version, lambda version: _holds_event(merged, version))
    return (merged if version == merged.emitted_version else replace(merged, version=version)), False


def merged_agent(old: Agent, sent: Agent) -> Agent:
    """The agent with what was sent in place of what it had."""
    merged = replace(
        sent,
        name=sent.name or old.name,
        more_names=sent.more_names if sent.name else old.more_names,
        type=sent.type or old.type,
        notes=sent.notes or old.notes,
        version=sent.version or old.version,
        extensions=sent.extensions or old.extensions,
        links=sent.links or old.links,
    )
    version = _version(merged.emitted_version, old.emitted_version, lambda version: _holds_agent(merged, version))
    return merged if version == merged.emitted_version else replace(merged, premis_version=version)


def _version(sent: str, old: str, holds: Callable[[str], bool]) -> str:
    return old if sent != old and not holds(sent) and holds(old) else sent


def _holds_event(event: Event, version: str) -> bool:
    """Whether XML of that version, read again, says the same in every version."""
    read = event_from(parse(event_xml(event, version).encode()), stored=True)
    views = ([event_xml(replace(each, version=to, attributes=()), to) for to in _VERSIONS] for each in (event, read))
    return next(views) == next(views)


def _holds_agent(agent: Agent, version: str) -> bool:
    read = agent_from(parse(agent_xml(agent, version).encode()), stored=True)
    views = (
        [agent_xml(replace(each, premis_version=to, attributes=()), to) for to in _VERSIONS] for each in (agent, read)
    )
    return next(views) == next(views)
