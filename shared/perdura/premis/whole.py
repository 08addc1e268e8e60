"""The whole log as lines of JSON, and back: every version of every event in the order of logging, then the agents.

A line of an event says which row of that event it is (`place`, from 1) and holds its XML as it was sent, so that the
lines make the same log again, once, however often they are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Connection, Engine

from perdura.errors import Conflict, Rejected
from perdura.premis import agents, log
from perdura.premis.model import Event, rfc3339
from perdura.premis.query import Sight, unseen
from perdura.premis.rows import CREATED, DELETED, REPLACED
from perdura.premis.xml import agent_from, event_from, events_in, parse

AGENT = "agent"
TOGETHER = 500
_KINDS = (CREATED, REPLACED, DELETED)


def versions(connection: Connection, after: int, sight: Sight | None) -> tuple[list[dict[str, Any]], int | None]:
    """(lines of up to TOGETHER rows of the log beyond a sequence number, the number to go on from or None).

    Rows that a reader may not see are left out.
    """
    rows = connection.exec_driver_sql(
        "SELECT l.sequence, l.version, l.kind, l.recorded_at, l.actor, l.premis_version, l.xml, l.leaf, l.event_id, "
        "coalesce(e.identifier, l.event_id::text), (SELECT count(*) FROM premis_log p "
        "WHERE p.event_id = l.event_id AND p.sequence <= l.sequence) "
        "FROM premis_log l LEFT JOIN premis_event e ON e.event_id = l.event_id "
        "WHERE l.sequence > %s ORDER BY l.sequence LIMIT %s",
        (after, TOGETHER),
    ).all()
    leaves = [json.loads(row[7]) for row in rows]
    named = [[value for _, value, _ in said["objects"]] if sight is not None else [] for said in leaves]
    hidden = {str(each) for each in unseen(connection, sight, (name for names in named for name in names))}
    lines = [
        {
            "kind": kind, "event": str(event_id), "identifier": identifier, "place": place, "revision": version,
            "recorded": rfc3339(recorded), "actor": actor, "at": said["at"], "premis": premis, "xml": xml,
        }
        for (_, version, kind, recorded, actor, premis, xml, _, event_id, identifier, place), said, names in zip(
            rows, leaves, named, strict=True
        )
        if hidden.isdisjoint(map(str.lower, names))
    ]  # fmt: skip
    return lines, rows[-1][0] if len(rows) == TOGETHER else None


def agent_lines(connection: Connection) -> list[dict[str, Any]]:
    """Lines of the registered agents."""
    return [
        {"kind": AGENT, "identifier": each.identifier, "recorded": rfc3339(each.recorded_at), "xml": each.xml}
        for each in agents.listed(connection)
    ]


def is_line(value: Any) -> bool:
    """Whether a JSON value is a line of a whole log."""
    return isinstance(value, dict) and value.get("kind") in (*_KINDS, AGENT) and isinstance(value.get("xml"), str)


def replay(engine: Engine, lines: Iterable[dict[str, Any]], *, actor: str) -> Iterator[tuple[bool, str | None]]:
    """Do again what lines say; of each: whether it was new, and what is wrong with it, if anything.

    Runs of new events share transactions, a change has one of its own.
    """
    for created, run in groupby(_chunks(lines), key=lambda chunk: chunk[0]["kind"] == CREATED):
        for chunk in run:
            if created:
                yield from _create(engine, chunk, actor)
            else:
                for line in chunk:
                    yield _agent(engine, line) if line["kind"] == AGENT else _change(engine, line, actor)


def _chunks(lines: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for _, run in groupby(lines, key=lambda line: line["kind"] == CREATED):
        chunk: list[dict[str, Any]] = []
        for line in run:
            chunk.append(line)
            if len(chunk) == TOGETHER:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


def _create(engine: Engine, lines: list[dict[str, Any]], actor: str) -> Iterator[tuple[bool, str | None]]:
    events: list[tuple[Event, str | None]] = []
    problems: dict[int, str] = {}
    for number, line in enumerate(lines):
        try:
            events.append((_event(line), line["xml"] if line.get("premis") is not None else None))
        except Rejected as error:
            problems[number] = error.message
    with engine.begin() as connection:
        known = _rows_of(connection, [event.id for event, _ in events])
        places = [line.get("place") for number, line in enumerate(lines) if number not in problems]
        new = [each for each, place in zip(events, places, strict=True) if known.get(each[0].id, 0) == (place or 1) - 1]
        taken = log.append_free(connection, [each for each, _ in new], actor=actor, sent=[sent for _, sent in new])
    recorded = {new[position][0].id for position in range(len(new)) if position not in set(taken)}
    remaining = iter(events)
    for number in range(len(lines)):
        if number in problems:
            yield False, problems[number]
        else:
            yield next(remaining)[0].id in recorded, None


def _change(engine: Engine, line: dict[str, Any], actor: str) -> tuple[bool, str | None]:
    try:
        event = _event(line)
    except Rejected as error:
        return False, error.message
    with engine.begin() as connection:
        rows = _rows_of(connection, [event.id]).get(event.id, 0)
        if rows >= line["place"]:
            return False, None
        current = log.find(connection, event.id)
        if rows != line["place"] - 1 or current is None:
            return False, f"{line['kind']}: row {line['place']} of {event.id} cannot follow row {rows}"
        if line["kind"] == DELETED:
            log.delete(connection, current, actor=actor)
        else:
            sent = line["xml"] if line.get("premis") is not None else None
            log.replace(connection, current, event, actor=actor, sent=sent)
    return True, None


def _agent(engine: Engine, line: dict[str, Any]) -> tuple[bool, str | None]:
    try:
        agent = agent_from(parse(line["xml"].encode("utf-8", "replace")))
        with engine.begin() as connection:
            agents.create(connection, agent)
    except Conflict:
        return False, None
    except Rejected as error:
        return False, error.message
    return True, None


def _event(line: dict[str, Any]) -> Event:
    """The event of a line, under the identifier it had. Raises Rejected."""
    try:
        identity, place = UUID(line["event"]), line["place"]
        identifier, premis = str(line["identifier"]), line.get("premis")
        xml = line["xml"].encode()
        recorded = datetime.fromisoformat(line["recorded"]).astimezone(UTC)
        at = datetime.fromisoformat(line["at"]).astimezone(UTC) if "at" in line else None
        if UUID(identifier) != identity:
            raise ValueError("identifier")
        if not isinstance(place, int) or place < 1:
            raise ValueError("place")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Rejected(f"no line of a log: {type(error).__name__}: {str(error)[:100]}") from error
    elements = events_in(parse(xml))
    if len(elements) != 1:
        raise Rejected(f"no line of a log: expected one event, found {len(elements)}")
    event = log.event_at(elements[0], at) if at is not None else event_from(elements[0], now=recorded, stored=True)
    return replace(event, id=identity, identifier=identifier, version=None if premis is None else event.version)


def _rows_of(connection: Connection, ids: list[UUID]) -> dict[UUID, int]:
    """How many rows the log has of each event."""
    found = connection.exec_driver_sql(
        "SELECT event_id, count(*) FROM premis_log WHERE event_id = ANY (CAST(%s AS uuid[])) GROUP BY event_id",
        ([str(each) for each in ids],),
    )
    return dict(tuple(each) for each in found)
