"""Recurring audits: stored AIPs that nobody has read for long are read again and compared, the longest unread first."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from perdura.cloudevents.message import CloudEvent
from perdura.ids import derived_id
from perdura.registry.checks import check_copy

_DUE = text("""
    SELECT package.id FROM copy JOIN package ON package.id = copy.package_id
    WHERE copy.location = 'object-store' AND copy.state = 'held' AND package.kind = 'AIP'
        AND coalesce(copy.verified_at, '-infinity'::timestamptz) < :before
        AND NOT EXISTS (
            SELECT FROM step WHERE step.archive_id = package.archive_id AND step.name = 'verify'
                AND step.input ->> 'package' = CAST(package.id AS text)
                AND (step.state IN ('queued', 'running', 'waiting') OR step.created_at >= :before))
    ORDER BY coalesce(copy.verified_at, '-infinity'::timestamptz)
    LIMIT greatest(0, :most - (
        SELECT count(*) FROM step WHERE name = 'verify' AND state IN ('queued', 'running', 'waiting')))
""")
"""A check that came to nothing, which leaves the date as it was, is not asked for again before another such time."""


def begin_audits(connection: Connection, now: datetime, unread: timedelta, at_once: int) -> list[CloudEvent]:
    """Ask for checks of AIPs in the store that were last verified longer than `unread` ago, or never.

    At most `at_once` checks are open then, whoever asked for them. Who asks at the same time asks for the same ones.
    """
    found = connection.execute(_DUE, {"before": now - unread, "most": at_once}).scalars().all()
    return [
        event
        for package in found
        for event in check_copy(
            connection, package, on_tape=False, step=derived_id("audit", package, now.date())
        ).events
    ]
