"""From a recognised record to its plan: which module speaks which protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from perdura.clients.http import Budget, HttpClient
from perdura.errors import Broken
from perdura.settings import Settings
from perdura.sources import inveniordm
from perdura.sources.catalogue import Recognised
from perdura.sources.plan import Plan

Planner = Callable[[Recognised, HttpClient], Plan]

PLANNERS: Mapping[str, Planner] = MappingProxyType({"inveniordm": inveniordm.plan})
"""One planner per protocol."""

REVISIONS: Mapping[str, Callable[[Recognised, HttpClient], str | None]] = MappingProxyType(
    {"inveniordm": inveniordm.current_revision}
)
"""Protocols that can say cheaply which revision a record has now."""


def client_for(
    record: Recognised, settings: Settings, *, token: str | None = None, budget: Budget | None = None
) -> HttpClient:
    """A client that reaches the hosts of this record's source, with credentials for its base address only."""
    profile = record.profile
    credentials = {}
    if token and profile.auth == "bearer":
        credentials = {"Authorization": f"Bearer {token}"}
    elif token and profile.auth == "cookie" and profile.cookie:
        credentials = {"Cookie": f"{profile.cookie}={token}"}
    return HttpClient(
        profile.reach(record.base_url, settings),
        user_agent=settings.harvest_user_agent,
        credentials=credentials,
        credentials_origin=record.base_url,
        budget=budget,
        connections=profile.concurrency,
    )


def plan(record: Recognised, client: HttpClient) -> Plan:
    """Ask the upstream and plan the harvest of one record."""
    planner = PLANNERS.get(record.profile.protocol)
    if planner is None:
        raise Broken(f"No program speaks {record.profile.protocol}, the protocol of {record.profile.name}.")
    return planner(record, client)
