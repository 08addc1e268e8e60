"""What the installation holds and does, in numbers."""

from __future__ import annotations

from perdura.accounts.principals import Permission
from perdura.api.models.statistics import StatisticsAnswer, StatisticsQuery
from perdura.api.operations import Call, Section
from perdura.api.queries import statistics

section = Section("Statistics")


@section.get("/statistics", permission=Permission.READ)
def get_statistics(call: Call, query: StatisticsQuery) -> StatisticsAnswer:
    """Holdings by state, source, package and format; throughput, failures and time per step of a period."""
    return statistics.statistics(call.connection, call.principal, query.days)
