"""Recurring harvests for people: make one, change it, see when each is due and how its runs went; pause, run now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import naming
from perdura.api.models.schedules import (
    ItemQuery,
    RunQuery,
    ScheduleAnswer,
    ScheduleChange,
    ScheduleQuery,
    ScheduleRequest,
)
from perdura.api.problems import Problem, problem_of
from perdura.api.queries import collections
from perdura.api.resources import schedules
from perdura.errors import PerduraError
from perdura.registry.run_states import ItemState
from perdura.sources.listing import ways
from perdura.sources.profile import profiles
from perdura.web import collection_choice, paging
from perdura.web.query_string import checked, read_query
from perdura.web.visit import Visit, see_other

ACTS = {
    "pause": schedules.pause_schedule,
    "resume": schedules.resume_schedule,
    "run": schedules.run_schedule,
    "retire": schedules.retire_schedule,
}
RUN_ACTS = {
    "pause": schedules.pause_run,
    "resume": schedules.resume_run,
    "cancel": schedules.cancel_run,
    "retry": schedules.retry_run,
}
FIELDS = (
    "name", "source", "way", "query", "set", "follows", "cron", "since", "collection", "record_limit", "concurrency",
    "base_url", "paused",
)  # fmt: skip
"""Fields of the form; empty ones are left to their defaults."""

CHANGEABLE = ("name", "query", "set", "cron", "collection", "record_limit", "concurrency")
NULLABLE = frozenset({"set", "collection", "record_limit"})

FIRST = {"way": "search", "follows": "updated", "cron": "@daily", "concurrency": "4"}


def listing(visit: Visit) -> Response:
    """All schedules, each with its latest run."""
    visit.require(Permission.READ)
    found = schedules.list_schedules(visit, read_query(visit, ScheduleQuery))
    return visit.page(
        "schedules.html",
        schedules=found.items,
        following=paging.following("/schedules", found.next),
    )


def ask(visit: Visit) -> Response:
    """The form for a new schedule; the address may name its source and query."""
    visit.require(Permission.OPERATE)
    given = {name: value for name in FIELDS if (value := visit.request.args.get(name, "")[:2000])}
    return _form(visit, {**FIRST, **given})


def create(visit: Visit) -> Response:
    """Make the schedule and show it, or the form again with what is wrong."""
    visit.require(Permission.OPERATE)
    fields = visit.form(FIELDS)
    try:
        read = {**fields, "collection": collection_choice.chosen(visit, "collection", fields["collection"])}
        wanted = checked(ScheduleRequest, {name: value for name, value in read.items() if value})
        naming.check(visit.connection, visit.principal, naming.in_model(wanted, "form"))
        made = schedules.create_schedule(visit, wanted)
    except (Problem, PerduraError) as refused:
        return _form(visit, fields, problem_of(refused))
    return see_other(f"/schedules/{made.id}")


def _form(visit: Visit, sent: dict[str, str], problem: Problem | None = None) -> Response:
    known = sorted(profiles(visit.services.settings).values(), key=lambda profile: profile.name.casefold())
    return visit.page(
        "schedule_new.html",
        status=problem.status if problem is not None else 200,
        sources=[(profile, ways(profile)) for profile in known if ways(profile)],
        collections=collection_choice.offered(visit),
        sent={name: sent.get(name, "") for name in FIELDS},
        problem=problem,
    )


def show(visit: Visit, schedule_id: UUID) -> Response:
    """One schedule and its runs."""
    visit.require(Permission.READ)
    return _shown(visit, schedule_id)


def change(visit: Visit, schedule_id: UUID) -> Response:
    """Change what was typed anew, and show the schedule; with what is wrong where that cannot be."""
    visit.require(Permission.OPERATE)
    sent = visit.form(CHANGEABLE)
    before = _as_sent(visit, schedules.get_schedule(visit, schedule_id))
    given: dict[str, Any] = {
        name: value or (None if name in NULLABLE else "") for name, value in sent.items() if value != before[name]
    }
    try:
        if given.get("collection"):
            given["collection"] = collection_choice.chosen(visit, "collection", sent["collection"])
        wanted = checked(ScheduleChange, given)
        naming.check(visit.connection, visit.principal, naming.in_model(wanted, "form"))
        schedules.change_schedule(visit, schedule_id, wanted)
    except (Problem, PerduraError) as refused:
        return _shown(visit, schedule_id, sent, problem_of(refused))
    return see_other(f"/schedules/{schedule_id}")


def _as_sent(visit: Visit, schedule: ScheduleAnswer) -> dict[str, str]:
    """A schedule as its form has it."""
    row = collections.find(visit.connection, visit.principal, schedule.collection) if schedule.collection else None
    told = {name: getattr(schedule, name) for name in CHANGEABLE} | {"collection": row.name if row else None}
    return {name: "" if value is None else str(value) for name, value in told.items()}


def _shown(
    visit: Visit, schedule_id: UUID, sent: Mapping[str, str] | None = None, problem: Problem | None = None
) -> Response:
    schedule, query = schedules.get_schedule(visit, schedule_id), read_query(visit, RunQuery)
    found = schedules.list_runs(visit, schedule_id, query)
    return visit.page(
        "schedule.html",
        status=problem.status if problem is not None else 200,
        schedule=schedule,
        sent=sent or _as_sent(visit, schedule),
        problem=problem,
        collections=collection_choice.offered(visit) if visit.principal.may(Permission.OPERATE) else [],
        runs=found.items,
        open=any(run.finished is None for run in found.items),
        followed=visit.address,
        following=paging.following(f"/schedules/{schedule_id}", found.next),
    )


def show_run(visit: Visit, run_id: UUID) -> Response:
    """One run and what became of its records; which they were is for those who see restricted ones."""
    visit.require(Permission.READ)
    run, query = schedules.get_run(visit, run_id), read_query(visit, ItemQuery)
    found = schedules.list_run_items(visit, run_id, query) if visit.principal.may(Permission.READ_RESTRICTED) else None
    return visit.page(
        "run.html",
        run=run,
        schedule=schedules.get_schedule(visit, run.schedule),
        counts=[(state.value, getattr(run.counts, state)) for state in ItemState] if run.counts is not None else [],
        state=query.state,
        items=found.items if found is not None else None,
        open=run.finished is None,
        followed=visit.address,
        following=paging.following(f"/runs/{run_id}", found.next, state=query.state) if found is not None else None,
    )


def act(visit: Visit, schedule_id: UUID, act: str) -> Response:
    """Pause, resume, run now, or end it for good."""
    visit.require(Permission.OPERATE)
    visit.form(())
    ACTS[act](visit, schedule_id)
    return see_other(f"/schedules/{schedule_id}")


def act_on_run(visit: Visit, run_id: UUID, act: str) -> Response:
    """Pause, resume or cancel a run, or harvest its failed records again."""
    visit.require(Permission.OPERATE)
    visit.form(())
    RUN_ACTS[act](visit, run_id)
    return see_other(f"/schedules/{schedules.get_run(visit, run_id).schedule}")
