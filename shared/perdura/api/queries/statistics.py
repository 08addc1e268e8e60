"""Statistics out of the daily counters: as fast with ten million steps as with ten."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import TextClause, text
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import hides
from perdura.api.models.statistics import (
    FailureStatistics,
    FormatVolume,
    StatisticsAnswer,
    StepStatistics,
    Throughput,
    Volume,
)
from perdura.api.queries.facets import Cell, open_restricted, visible_cells
from perdura.api.queries.rows import AnyRow

FORMATS = 30
FAILURES = 20
GRANTED = 200
"""Restricted Archives that are added, one by one, to the counts for a caller to whom they were granted."""

_COUNTS = """(
    SELECT day, measure, name, detail, bucket, count, amount FROM daily_count WHERE measure = ANY(:measures)
    UNION ALL
    SELECT day, measure, name, detail, bucket, count, amount FROM daily_change WHERE measure = ANY(:measures)
    UNION ALL
    SELECT day, right(measure, -length('restricted-')), name, detail, bucket, -count, -amount FROM (
        SELECT day, measure, name, detail, bucket, count, amount FROM daily_count
        UNION ALL SELECT day, measure, name, detail, bucket, count, amount FROM daily_change
    ) AS restricted WHERE measure = ANY(:taken_off)
    UNION ALL
    SELECT added.* FROM unnest(CAST(:granted AS uuid[])) AS open, archive_days(open) AS added
    WHERE measure = ANY(:measures)
) AS counted"""
"""All counts, without those of the restricted Archives, with those of such of them as are open to the caller."""

_SERIES = text(f"""
    SELECT measure, date_trunc(:unit, day)::date AS day, name, sum(count)::bigint AS number,
        greatest(0, sum(amount))::bigint AS amount
    FROM {_COUNTS} WHERE day >= :since GROUP BY 1, 2, 3 HAVING sum(count) > 0
""")  # noqa: S608 - a constant of this module

_TOTALS = text(f"""
    SELECT measure, name, max(detail) AS detail, sum(count)::bigint AS number,
        greatest(0, sum(amount))::bigint AS amount
    FROM {_COUNTS} GROUP BY 1, 2 HAVING sum(count) > 0
""")  # noqa: S608 - a constant of this module

_STEPS = text(f"""
    SELECT measure, name, detail, bucket, sum(count)::bigint AS number, greatest(0, sum(amount))::bigint AS amount
    FROM {_COUNTS} WHERE day >= :since GROUP BY 1, 2, 3, 4 HAVING sum(count) > 0
""")  # noqa: S608 - a constant of this module

_ORDER = ("harvest", "ingest", "preserve", "archive", "publish", "notify")


def statistics(connection: Connection, principal: Principal, days: int) -> StatisticsAnswer:
    """Everything, in six statements at most; of restricted Archives only those that the principal may see.

    Of those the charts count the newest `GRANTED`.
    """
    until = datetime.now(UTC).date()
    since = until - timedelta(days=days - 1)
    unit = "day" if days <= 120 else "week" if days <= 800 else "month"
    cells = visible_cells(connection, principal)
    hiding = hides(principal)
    granted = open_restricted(connection, principal, GRANTED) if hiding else []

    def counted(statement: TextClause, *measures: str, **values: object) -> Sequence[AnyRow]:
        taken_off = [f"restricted-{measure}" for measure in measures if hiding]
        given = {"measures": list(measures), "taken_off": taken_off, "granted": granted}
        return connection.execute(statement, {**given, **values}).all()

    totals = counted(_TOTALS, "format", "holder", "package")
    series = counted(_SERIES, "archive", "finished", "package", unit=unit, since=since)
    runs = counted(_STEPS, "step", "failure", since=since)
    return StatisticsAnswer(
        whole=not hiding,
        since=since,
        until=until,
        unit=unit,
        archives=sum(cell.archives for cell in cells),
        bytes=sum(cell.bytes for cell in cells),
        states=_states(cells),
        sources=_sources(cells),
        packages=[
            Volume(name=row.name, count=row.number, bytes=row.amount)
            for row in sorted(totals, key=lambda row: str(row.name))
            if row.measure == "package"
        ],
        formats=_formats(totals),
        throughput=_throughput(series, since, until, unit),
        steps=_steps([row for row in runs if row.measure == "step"]),
        failures=_failures([row for row in runs if row.measure == "failure"]),
    )


def _states(cells: Sequence[Cell]) -> dict[str, int]:
    states: dict[str, int] = defaultdict(int)
    for cell in cells:
        states[cell.values["state"]] += cell.archives
    return dict(sorted(states.items()))


def _sources(cells: Sequence[Cell]) -> list[Volume]:
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for cell in cells:
        entry = found[cell.values["source"] or cell.values["origin"]]
        entry[0] += cell.archives
        entry[1] += cell.bytes
    volumes = [Volume(name=name, count=count, bytes=size) for name, (count, size) in found.items()]
    return sorted(volumes, key=lambda volume: -volume.count)


def _formats(totals: Sequence[AnyRow]) -> list[FormatVolume]:
    holders = {row.name: row.number for row in totals if row.measure == "holder"}
    found = [
        FormatVolume(
            format=row.name, name=row.detail, files=row.number, bytes=row.amount, archives=holders.get(row.name, 0)
        )
        for row in totals
        if row.measure == "format"
    ]
    return sorted(found, key=lambda volume: -volume.files)[:FORMATS]


def _beginnings(since: date, until: date, unit: str) -> list[date]:
    """The first days of all units of a period, as `date_trunc` cuts them."""
    found: list[date] = []
    day = since
    while day <= until:
        first = (
            day.replace(day=1) if unit == "month" else day - timedelta(days=day.weekday()) if unit == "week" else day
        )
        if not found or found[-1] != first:
            found.append(first)
        day += timedelta(days=1)
    return found


def _throughput(series: Sequence[AnyRow], since: date, until: date, unit: str) -> list[Throughput]:
    numbers: dict[date, dict[str, int]] = {day: defaultdict(int) for day in _beginnings(since, until, unit)}
    for row in series:
        entry = numbers.setdefault(row.day, defaultdict(int))
        if row.measure == "archive":
            entry["archives"] += row.number
        elif row.measure == "package" and row.name == "AIP":
            entry["bytes"] += row.amount
        elif row.measure == "finished" and row.name.startswith("completed"):
            entry["completed"] += row.number
        elif row.measure == "finished" and row.name in {"failed", "rejected"}:
            entry["failed"] += row.number
    return [
        Throughput(
            day=day,
            archives=entry["archives"],
            completed=entry["completed"],
            failed=entry["failed"],
            bytes=entry["bytes"],
        )
        for day, entry in sorted(numbers.items())
    ]


def _steps(rows: Sequence[AnyRow]) -> list[StepStatistics]:
    names = sorted({row.name for row in rows}, key=lambda name: (_ORDER.index(name) if name in _ORDER else 99, name))
    return [_step(name, [row for row in rows if row.name == name]) for name in names]


def _step(name: str, rows: Sequence[AnyRow]) -> StepStatistics:
    buckets: dict[int, int] = defaultdict(int)
    for row in rows:
        buckets[row.bucket] += row.number
    number = sum(buckets.values())
    return StepStatistics(
        name=name,
        runs=number,
        failed=sum(row.number for row in rows if row.detail == "failed"),
        mean_seconds=round(sum(row.amount for row in rows) / 1000 / max(1, number), 3),
        median_seconds=at_share(buckets, 0.5),
        slowest_twentieth_seconds=at_share(buckets, 0.95),
    )


def at_share(buckets: Mapping[int, int], share: float) -> float:
    """The upper end, in seconds, of the bucket (⌈log2 s⌉) in which that share of all is reached."""
    wanted, seen = share * sum(buckets.values()), 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= wanted:
            return float(2.0**bucket)
    return 0.0


def _failures(rows: Sequence[AnyRow]) -> list[FailureStatistics]:
    found = [FailureStatistics(step=row.name, code=row.detail, count=row.number) for row in rows]
    return sorted(found, key=lambda failure: -failure.count)[:FAILURES]
