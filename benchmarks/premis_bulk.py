"""Ten million events in a quarter of an hour: the rows that reading needs, by COPY, as the log itself makes them.

What feeds, pages and permalinks are read from is filled: heads, links to objects, kinds and counts. The rows of the
log itself, their leaves and the links to agents are left out, for they would take twice the disk: nothing is sealed or
proved there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial

from sqlalchemy.engine import Connection, Engine

from perdura.premis.rows import Row, row
from perdura.premis.xml import events_in, parse, received
from perdura.premis.xml.usual import usual

TOGETHER = 20_000
_AHEAD = 8
_CHECKED = 100

_HEADS = (
    "premis_event (event_id, identifier, sequence, log_sequence, kind_id, at, recorded_at, changed_at, version, "
    "premis_version, objects, xml)"
)
_OBJECTS = "premis_object (object, sequence, bare, kind_id, at, identifier, event_id)"
_TO_ESCAPE = re.compile(r"[\\\t\n\r]")
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True, slots=True)
class _Part:
    """Some events as COPY takes them, with their kinds and how many there are of a kind in a day."""

    heads: bytes
    objects: bytes
    kinds: dict[int, tuple[str, list[str]]]
    counts: Counter[tuple[date, int]]


def load(engine: Engine, number: int, entry: Callable[[int], str]) -> None:
    """Fill the tables of an empty log with the events that the entries of 0, 1, … number - 1 hold.

    All in one transaction, without indexes, which are made anew at its end. Raises ValueError should a row not be the
    one that a POST makes.
    """
    kinds: dict[int, tuple[str, list[str]]] = {}
    counts: Counter[tuple[date, int]] = Counter()
    ranges = [range(first, min(number, first + TOGETHER)) for first in range(0, number, TOGETHER)]
    with engine.begin() as connection, ProcessPoolExecutor(2) as makers:
        indexes = _without_indexes(connection)
        for begin in range(0, len(ranges), _AHEAD):
            for part in makers.map(partial(_part, entry), ranges[begin : begin + _AHEAD]):
                _copy(connection, _HEADS, part.heads)
                _copy(connection, _OBJECTS, part.objects)
                kinds |= part.kinds
                counts += part.counts
        for kind_id, (type_, outcomes) in kinds.items():
            connection.exec_driver_sql("INSERT INTO premis_kind VALUES (%s, %s, %s)", (kind_id, type_, outcomes))
        _copy(connection, "premis_count (day, kind_id, n)", _lines((*of, n) for of, n in counts.items()))
        connection.exec_driver_sql("SELECT setval('premis_sequence', %s)", (number,))
        for statement in indexes:
            connection.exec_driver_sql(statement)


def _part(entry: Callable[[int], str], numbers: range) -> _Part:
    now = datetime.now(UTC)
    rows = [_row(entry(k), now, checked=k < numbers.start + _CHECKED) for k in numbers]
    numbered = list(enumerate(rows, numbers.start + 1))
    return _Part(
        _lines(_head(n, each, now) for n, each in numbered),
        _lines(line for n, each in numbered for line in _objects(n, each)),
        {each.kind[0]: each.kind[1:] for each in rows},
        Counter((each.at.date(), each.kind[0]) for each in rows),
    )


def _row(entry: str, now: datetime, *, checked: bool) -> Row:
    """The row of an entry; `checked` against what reading all of it as XML comes to."""
    begin, end = entry.index("<premis:event "), entry.index("</content>")
    event = entry[begin:end].strip().replace("<premis:event ", '<premis:event xmlns="http://www.w3.org/2005/Atom" ', 1)
    found = usual(event, now=now)
    if found is None:
        raise ValueError("the event is not written as most are")
    made = row(found[0], sent=event, shown=found[1], recorded_at=now, actor="benchmark")
    if checked:
        read, sent, shown = received(*events_in(parse(entry.encode())), now=now)
        if made != row(read, sent=sent, shown=shown, recorded_at=now, actor="benchmark"):
            raise ValueError("the row is not what a POST makes")
    return made


def _head(number: int, each: Row, now: datetime) -> Sequence[object]:
    return (
        each.id, each.identifier, number, number, each.kind[0], each.at, now, now, 1, each.premis, each.listed,
        each.xml,
    )  # fmt: skip


def _objects(number: int, each: Row) -> Iterator[Sequence[object]]:
    return ((key, number, bare, each.kind[0], each.at, each.identifier, each.id) for key, bare in each.keys.items())


def _lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Rows in the text format of COPY."""
    return "".join(["\t".join([_text(value) for value in row]) + "\n" for row in rows]).encode()


def _text(value: object) -> str:
    text = "\\N" if value is None else str(value)
    return text if value is None or _TO_ESCAPE.search(text) is None else text.translate(_ESCAPED)


def _copy(connection: Connection, table: str, lines: bytes) -> None:
    cursor = connection.connection.cursor()
    cursor.execute(f"COPY {table} FROM STDIN", stream=iter([lines]))  # type: ignore[call-arg]


def _without_indexes(connection: Connection) -> list[str]:
    """Take the indexes of the tables away; the statements that make them anew."""
    statements = []
    for table in ("premis_event", "premis_object"):
        connection.exec_driver_sql(f"TRUNCATE {table}")
        constraints = connection.exec_driver_sql(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = %s::regclass AND contype = 'p'",
            (table,),
        ).all()
        for name, definition in constraints:
            statements.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        indexes = connection.exec_driver_sql(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", (table,)
        ).all()
        for name, definition in indexes:
            statements.append(definition)
            connection.exec_driver_sql(f"DROP INDEX {name}")
    return statements
