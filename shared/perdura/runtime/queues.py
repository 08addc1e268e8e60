"""How much waits and for how long, and what is broken: the gauges of the relay, read at each scrape."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from perdura.errors import PerduraError
from perdura.runtime import metrics
from perdura.runtime.environment import Environment

_log = logging.getLogger(__name__)


_OUTBOX = text("""
    SELECT count(*) AS pending, coalesce(extract(epoch FROM now() - min(created_at)), 0) AS age
    FROM outbox WHERE delivered_at IS NULL
""")

_OPEN = text("""
    SELECT name, CASE WHEN EXISTS (SELECT FROM turn WHERE turn.step_id = step.id) THEN 'turn' ELSE state END AS state,
        count(*) AS open, extract(epoch FROM now() - min(progress_at)) AS age
    FROM step WHERE state IN ('queued', 'running', 'waiting') GROUP BY 1, 2 ORDER BY 1, 2
""")
"""What waits for its turn is not stuck, and has a state of its own here."""

_BLOCKED = text("SELECT name, count(*) AS open FROM step WHERE state = 'blocked' GROUP BY name ORDER BY name")
"""A retry, a skip or a withdrawal ends this state: these wait for a person at this moment."""

_TO_TAPE = text("""
    SELECT coalesce(output #>> '{tape,waiting_for}', 'unknown') AS what, count(*) AS aips
    FROM step WHERE name = 'archive' AND state = 'waiting' GROUP BY what ORDER BY what
""")

_BROKEN = text("SELECT location, state, count(*) AS copies FROM copy WHERE state <> 'held' GROUP BY 1, 2 ORDER BY 1, 2")

_UNSEALED = text("""
    SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM premis_unsealed ORDER BY sequence LIMIT 1
""")


def gauges(environment: Environment) -> Iterator[metrics.Sample]:
    """The samples of this moment; none of the queues while the database is away."""
    try:
        with environment.engine.connect() as connection:
            found = waiting(connection)
    except SQLAlchemyError as error:
        _log.warning("the queues could not be read: %s", type(error).__name__)
        return
    yield from found
    yield from _certificate(environment)


def waiting(connection: Connection) -> list[metrics.Sample]:
    """What waits and what is broken at this moment, by six statements on small tables and partial indexes."""
    outbox, steps = connection.execute(_OUTBOX).one(), connection.execute(_OPEN).all()
    found: list[metrics.Sample] = [
        (metrics.OUTBOX_PENDING, {}, float(outbox.pending)),
        (metrics.OUTBOX_AGE, {}, float(outbox.age)),
    ]
    found += [(metrics.STEPS_OPEN, {"step": row.name, "state": row.state}, float(row.open)) for row in steps]
    blocked = connection.execute(_BLOCKED)
    found += [(metrics.STEPS_OPEN, {"step": row.name, "state": "blocked"}, float(row.open)) for row in blocked]
    found += [(metrics.STEPS_AGE, {"step": row.name, "state": row.state}, float(row.age)) for row in steps]
    found += [
        (metrics.TAPE_RESIDENCY, {"waiting_for": row.what}, float(row.aips)) for row in connection.execute(_TO_TAPE)
    ]
    broken = connection.execute(_BROKEN)
    found += [(metrics.COPIES_BROKEN, {"location": row.location, "state": row.state}, row.copies) for row in broken]
    found.append((metrics.UNSEALED_AGE, {}, float(connection.execute(_UNSEALED).scalar() or 0)))
    return found


def _certificate(environment: Environment) -> Iterator[metrics.Sample]:
    settings = environment.settings
    if not (settings.tape_certificate and settings.tape_key):
        return
    from perdura.clients.tape_x509 import load

    try:
        robot = load(settings.tape_certificate, settings.tape_key)
    except PerduraError as error:
        _log.warning("the robot certificate could not be read: %s", error.message)
        return
    yield metrics.CERTIFICATE_DAYS, {}, robot.days_left(datetime.now(UTC))
