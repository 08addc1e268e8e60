"""The operations of the API, one module per kind of thing."""

from __future__ import annotations

from perdura.api.operations import Operation
from perdura.api.resources import (
    access,
    announcements,
    archives,
    audit,
    collections,
    deposits,
    events,
    grants,
    harvests,
    health,
    jobs,
    packages,
    pipelines,
    preservation,
    schedules,
    settings,
    source_health,
    sources,
    statistics,
    subscriptions,
    tape,
    users,
)

OPERATIONS: tuple[Operation, ...] = (
    *archives.section.operations,
    *access.section.operations,
    *events.section.operations,
    *packages.section.operations,
    *deposits.section.operations,
    *announcements.section.operations,
    *harvests.section.operations,
    *schedules.section.operations,
    *sources.section.operations,
    *users.section.operations,
    *grants.section.operations,
    *audit.section.operations,
    *settings.section.operations,
    *collections.section.operations,
    *jobs.section.operations,
    *pipelines.section.operations,
    *tape.section.operations,
    *source_health.section.operations,
    *statistics.section.operations,
    *subscriptions.section.operations,
    *preservation.section.operations,
    *health.section.operations,
)
