"""Other forms of events and agents: Atom, bare PREMIS XML, JSON, history, statistics, export (premis.md 1.1, 4.7)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Connection
from werkzeug.wrappers import Response

from perdura.premis import agents as registered
from perdura.premis import log, query
from perdura.premis.json_form import agent_to_json, event_to_json
from perdura.premis.listed import moment
from perdura.premis.log import Stored
from perdura.premis.model import Identifier, rfc3339
from perdura.premis.query import Sight
from perdura.premis.service import agents, atom, events, parameters
from perdura.premis.service.call import Call, Refused, as_json, shown
from perdura.premis.xml import agent_xml, is_uuid

URL_TYPE = "http://purl.org/net/untl/vocabularies/identifier-qualifiers/#URL"
EXPORTED = 1_000


def event_atom(call: Call, identifier: str) -> Response:
    """GET /event/<id>.xml"""
    return events.entry(call, identifier)


def event_premis(call: Call, identifier: str) -> Response:
    """GET /event/<id>.premis.xml"""
    version = parameters.version(call.parameters("version"))
    stored = _event(call, identifier)
    return Response(atom.DECLARATION + stored.xml_in(version), content_type="application/xml")


def event_json(call: Call, identifier: str) -> Response:
    """GET /event/<id>.json"""
    stored = _event(call, identifier)
    shown_event = event_to_json(stored.event)
    shown_event |= {
        "id": call.urls.member("event", stored.identifier),
        "recorded": rfc3339(stored.recorded_at),
        "changed": rfc3339(stored.changed_at),
        "revision": stored.version,
    }
    return as_json(shown_event)


def event_history(call: Call, identifier: str) -> Response:
    """GET /event/<id>.history.json: every version, also of an event that was deleted."""
    with call.reading() as connection:
        versions = log.history(connection, UUID(identifier)) if is_uuid(identifier) else []
        if query.hides(connection, call.sight, (name for each in versions for name in each.objects)):
            versions = []
    if not versions:
        raise Refused(404, f"There is no event for identifier {shown(identifier)}.")
    return as_json(
        [
            {
                "revision": each.number,
                "kind": each.kind,
                "recorded": rfc3339(each.recorded_at),
                "actor": each.actor,
                "sealed": each.sealed,
                "current": each is versions[-1] and each.kind != "deleted",
                "xml": each.xml,
            }
            for each in versions
        ]
    )


def agent_atom(call: Call, identifier: str) -> Response:
    """GET /agent/<id>.xml: the entry, under the identifier as its title."""
    stored = _agent(call, identifier)
    version = parameters.version(call.parameters("version"))
    body = atom.agent_entry(stored, call.urls, call.settings.premis_author, version, title=stored.identifier)
    return Response(body, content_type=atom.ENTRY_TYPE)


def agent_premis(call: Call, identifier: str) -> Response:
    """GET /agent/<id>.premis.xml: the agent, known by the address of its page."""
    stored = _agent(call, identifier)
    version = parameters.version(call.parameters("version"))
    page = Identifier(URL_TYPE, call.urls.page("agent", stored.identifier))
    agent = replace(stored.agent, identifier=page, more_identifiers=())
    return Response(atom.DECLARATION + agent_xml(agent, version), content_type="application/xml")


def agent_json(call: Call, identifier: str) -> Response:
    """GET /agent/<id>.json"""
    stored = _agent(call, identifier)
    return as_json(agent_to_json(stored.agent, call.urls.page("agent", stored.identifier)))


def statistics(call: Call) -> Response:
    """GET /event/statistics.json: counts by type, outcome and day."""
    with call.reading() as connection:
        return as_json(counts(connection, call.sight))


def counts(connection: Connection, sight: Sight | None) -> dict[str, Any]:
    """Events by type, by outcome (each once per distinct outcome) and by day, from the maintained counts."""
    found = query.counted(connection, sight)
    types: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    days: dict[str, int] = {}
    for type_, outcomes_, day, number in found:
        types[type_] = types.get(type_, 0) + number
        days[day.isoformat()] = days.get(day.isoformat(), 0) + number
        for outcome in outcomes_ or [""]:
            outcomes[outcome] = outcomes.get(outcome, 0) + number
    return {
        "total": sum(types.values()),
        "type": dict(sorted(types.items(), key=lambda each: (-each[1], each[0]))),
        "outcome": dict(sorted(outcomes.items(), key=lambda each: (-each[1], each[0]))),
        "day": dict(sorted(days.items())),
    }


def export(call: Call) -> Response:
    """GET /event/export.ndjson: every current event, in the order of logging, as a stream of constant memory."""
    return Response(_lines(call), content_type="application/x-ndjson")


def _lines(call: Call) -> Iterator[bytes]:
    place = None
    while True:
        with call.reading() as connection:
            page = query.page(
                connection, query.Filter(sight=call.sight), order=query.Order.ADDED, limit=EXPORTED, place=place
            )
        for event in page.events:
            line = event_to_json(event.event) | {"recorded": moment(event.recorded_micro)}
            yield json.dumps(line, ensure_ascii=False).encode() + b"\n"
        if not page.more:
            return
        place = query.Place(query.key_of(page.events[-1], query.Order.ADDED))


def _event(call: Call, identifier: str) -> Stored:
    with call.reading() as connection:
        stored = events.found(connection, identifier, call.sight)
    if stored is None:
        raise Refused(404, f"There is no event for identifier {shown(identifier)}.")
    return stored


def _agent(call: Call, identifier: str) -> registered.StoredAgent:
    return agents.existing(call, identifier, f"There is no agent with the identifier {shown(identifier)}")
