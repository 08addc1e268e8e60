"""Pages of events against the same question answered in Python over all of them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event as listening
from sqlalchemy import text
from sqlalchemy.engine import Engine

from perdura.premis import log, query
from perdura.premis.model import Event, Identifier, Outcome
from perdura.premis.query import Filter, Order, Place, plain
from tests.contract.test_premis.conftest import database

START = datetime(2024, 1, 1, tzinfo=UTC)
TYPES = ("http://example.org/#fixityCheck", "http://example.org/#replication", "fixity", "")
OUTCOMES = ((), ("success",), ("failure",), ("warning", "success"), ("success", "success"))


@dataclass(frozen=True)
class Known:
    event: Event
    sequence: int


def _random_event(random_: random.Random) -> Event:
    objects = tuple(
        Identifier("ARK", f"ark:/67531/coda{random_.randrange(6)}") for _ in range(random_.choice((0, 1, 1, 2)))
    )
    return Event(
        id=uuid.UUID(int=random_.getrandbits(128)),
        type=random_.choice(TYPES),
        at=START + timedelta(hours=random_.randrange(24 * 12), minutes=random_.choice((0, 0, 30))),
        outcomes=tuple(Outcome(each) for each in random_.choice(OUTCOMES)),
        objects=objects,
        agents=(Identifier("URL", f"http://example.org/agent{random_.randrange(3)}"),),
    )


@pytest.fixture(scope="module")
def known(engine: Engine) -> list[Known]:
    random_ = random.Random(7)
    events = [_random_event(random_) for _ in range(700)]
    with engine.begin() as connection:
        for first in range(0, 600, 150):
            log.append(connection, events[first : first + 150], actor="test")
        connection.execute(text("SELECT premis_fold_counts(500)"))
        log.append(connection, events[600:], actor="test")
        for event in events[:20]:
            stored = log.find(connection, event.id)
            assert stored is not None
            log.delete(connection, stored, actor="test")
        for number, event in enumerate(events[20:40], start=20):
            stored = log.find(connection, event.id)
            assert stored is not None
            events[number] = replace(event, type=TYPES[0], at=START + timedelta(days=3, hours=number))
            log.replace(connection, stored, events[number], actor="test")
    return [Known(event, number) for number, event in enumerate(events) if number >= 20]


FILTERS = [
    Filter(),
    Filter(type="fixity"),
    Filter(type="fixityCheck", outcome="succ"),
    Filter(exact_type=""),
    Filter(exact_outcome="success"),
    Filter(outcome="nothing of the kind"),
    Filter(start=START + timedelta(days=2), end=START + timedelta(days=5)),
    Filter(start=START + timedelta(days=2, hours=7), end=START + timedelta(days=5, hours=3, minutes=30)),
    Filter(start=START + timedelta(days=2, hours=7), end=START + timedelta(days=2, hours=9)),
    Filter(start=START + timedelta(days=2, hours=7), end=START + timedelta(days=3), type="repl"),
    Filter(end=START + timedelta(days=1, hours=1)),
    Filter(start=START + timedelta(days=5), end=START + timedelta(days=2)),
    Filter(object="ark:/67531/coda1"),
    Filter(object="ark:/67531/coda1", type="fixity", start=START + timedelta(days=2)),
    Filter(named_object="coda1"),
    Filter(named_object="ark:/67531/coda1", outcome="success"),
    Filter(agent="http://example.org/agent1"),
    Filter(agent="http://example.org/agent1", object="ark:/67531/coda1", type="fixity"),
]


def _matches(event: Event, wanted: Filter) -> bool:
    outcomes = [each.outcome for each in event.outcomes]
    objects = [each.value for each in event.objects]
    return (
        (wanted.type is None or wanted.type in event.type)
        and (wanted.exact_type is None or wanted.exact_type == event.type)
        and (wanted.outcome is None or any(wanted.outcome in each for each in outcomes))
        and (wanted.exact_outcome is None or wanted.exact_outcome in outcomes)
        and (wanted.start is None or event.at >= wanted.start)
        and (wanted.end is None or event.at < wanted.end)
        and (wanted.object is None or wanted.object in objects)
        and (
            wanted.named_object is None
            or any(wanted.named_object in (each, each.rpartition("/")[2]) for each in objects)
        )
        and (wanted.agent is None or wanted.agent in [each.value for each in event.agents])
    )


def _key(each: Known, order: Order) -> tuple[object, ...]:
    event = each.event
    first = event.outcomes[0].outcome if event.outcomes else ""
    return {
        Order.DATE: (event.at, str(event.id)),
        Order.ADDED: (each.sequence,),
        Order.IDENTIFIER: (str(event.id),),
        Order.TYPE: (event.type, str(event.id)),
        Order.OUTCOME: (first, str(event.id)),
    }[order]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_pages_are_what_sorting_everything_would_give(
    engine: Engine, known: list[Known], wanted: Filter, order: Order, descending: bool
) -> None:
    expected = sorted(
        (each for each in known if _matches(each.event, wanted)),
        key=lambda each: _key(each, order),
        reverse=descending,
    )
    ids = [each.event.id for each in expected]
    with engine.connect() as connection:
        for offset, limit in ((0, 50), (30, 40), (max(0, len(ids) - 10), 50)):
            found = query.page(connection, wanted, order=order, descending=descending, offset=offset, limit=limit)
            assert [each.event_id for each in found.events] == ids[offset : offset + limit]
            assert found.total == len(ids)
            assert found.more == (len(ids) > offset + limit)
        walked, place = [], None
        while True:
            found = query.page(connection, wanted, order=order, descending=descending, limit=45, place=place)
            walked += [each.event_id for each in found.events]
            if not found.more:
                break
            place = Place(query.key_of(found.events[-1], order))
        assert walked == ids
        if len(ids) > 90:
            middle = query.page(connection, wanted, order=order, descending=descending, offset=90, limit=45)
            place = Place(query.key_of(middle.events[0], order), backwards=True)
            before = query.page(connection, wanted, order=order, descending=descending, limit=45, place=place)
            assert [each.event_id for each in before.events] == ids[45:90]


@pytest.mark.parametrize("order", list(Order))
def test_more_kinds_than_are_merged_give_the_same_pages(
    engine: Engine, known: list[Known], order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "MERGED", 1)
    wanted = Filter(type="fixity")
    expected = sorted((each for each in known if _matches(each.event, wanted)), key=lambda each: _key(each, order))
    with engine.connect() as connection:
        found = query.page(connection, wanted, order=order, offset=30, limit=40)
        after = query.page(
            connection, wanted, order=order, limit=40, place=Place(query.key_of(found.events[-1], order))
        )
    walked = [each.event_id for each in (*found.events, *after.events)]
    assert walked == [each.event.id for each in expected[30:110]]


def test_a_page_needs_three_statements_at_most(engine: Engine, known: list[Known]) -> None:
    assert known
    seen = 0
    with engine.connect() as connection:
        original = connection.exec_driver_sql

        def counted(*arguments: object) -> object:
            nonlocal seen
            seen += 1
            return original(*arguments)  # type: ignore[arg-type]

        connection.exec_driver_sql = counted  # type: ignore[method-assign,assignment]
        query.page(connection, Filter(type="fixity", start=START), order=Order.DATE, offset=100)
    assert seen <= 3


BUSY = "ark:/67531/busy"
_MANY = (
    "SET synchronous_commit = on",  # else VACUUM does not mark yet what all may see
    # 30,000 events in an order that has nothing to do with their dates; a third of them names one object.
    "INSERT INTO premis_kind VALUES (1, 'often', '{success}'), (2, 'seldom', '{failure}')",
    """CREATE TABLE made AS SELECT n, md5(n::text)::uuid AS id, CASE n % 40 WHEN 0 THEN 2 ELSE 1 END AS kind,
        timestamptz '2024-01-01Z' + (n * 7919 % 30000) * interval '1 minute' AS at,
        CASE n % 3 WHEN 0 THEN 'busy' ELSE 'coda' || n % 500 END AS name FROM generate_series(1, 30000) AS n""",
    """INSERT INTO premis_event SELECT id, id::text, n, n, kind, at, at, at, 1, '2.3', 'ark:/67531/' || name,
        repeat('<event/>', 150) FROM made""",
    """INSERT INTO premis_object (object, sequence, bare, kind_id, at, identifier, event_id)
        SELECT 'ark:/67531/' || name, n, name, kind, at, id::text, id FROM made""",
    "INSERT INTO premis_count SELECT at::date, kind, count(*) FROM made GROUP BY 1, 2",
    "DROP TABLE made",
    "VACUUM ANALYZE",
)


@pytest.fixture(scope="module")
def many(postgres: str) -> Iterator[Engine]:
    with database(postgres) as made:
        with made.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in _MANY:
                connection.exec_driver_sql(statement)
        yield made


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("named", "order"),
    [
        *(({name: BUSY}, order) for name in ("object", "named_object") for order in (Order.DATE, Order.ADDED)),
        ({"named_object": "busy"}, Order.ADDED),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "further",
    [{}, {"exact_type": "often"}, {"exact_outcome": "success", "start": START}, {"start": START + timedelta(days=2)}],
    ids=str,
)
def test_a_page_of_an_object_with_many_events_reads_little_more_than_its_own_rows(
    many: Engine, named: dict[str, Any], further: dict[str, Any], order: Order, descending: bool
) -> None:
    rows, pages = _effort(many, Filter(**named, **further), order, descending)
    assert rows <= 1_000
    assert pages <= 201 * 6


@pytest.mark.parametrize(
    "matching",
    [
        Filter(object=BUSY, exact_outcome="failure"),
        Filter(named_object="busy", exact_outcome="failure"),
        Filter(named_object="busy"),
    ],
    ids=str,
)
def test_what_has_to_be_picked_from_all_links_of_an_object_is_picked_from_an_index(
    many: Engine, matching: Filter
) -> None:
    rows, pages = _effort(many, matching, Order.DATE, False)
    assert rows <= 10_000
    assert pages <= 201 * 6


def test_a_page_deep_among_several_kinds_reads_each_only_as_far_as_the_page_goes(many: Engine) -> None:
    matching = Filter(
        outcome="", start=START, end=START + timedelta(days=30, hours=1)
    )  # no whole days: all are skipped
    rows, _ = _effort(many, matching, Order.DATE, False, offset=1_500)
    assert rows <= 1_500 + 201 + 2


def _effort(engine: Engine, matching: Filter, order: Order, descending: bool, offset: int = 0) -> tuple[int, int]:
    """(most rows that a part of the plan of a page looks at, pages of the database that all of it reads)."""
    asked: list[tuple[str, Any]] = []
    with engine.connect() as connection:
        connection.exec_driver_sql("SET random_page_cost = 1.1")  # as installations have it
        listening.listen(connection, "before_cursor_execute", lambda *heard: asked.append(heard[2:4]))
        found = query.page(connection, matching, order=order, descending=descending, offset=offset)
        assert len(found.events) == query.PAGE
        statement, values = asked[-1]
        ((((plan,),),),) = [connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values)]
    pages = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    return max(_looked_at(plan["Plan"])), pages


def _looked_at(node: dict[str, Any]) -> Iterator[int]:
    yield int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
    for each in node.get("Plans", ()):
        yield from _looked_at(each)
