"""Recurring harvests for people: when each is due, how its last run went; pause, resume, run now."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.models.schedules import RunQuery, ScheduleQuery
from perdura.api.problems import not_found
from perdura.api.resources import schedules
from perdura.web.visit import Visit, see_other

ACTS = {"pause": schedules.pause_schedule, "resume": schedules.resume_schedule, "run": schedules.run_schedule}


def listing(visit: Visit) -> Response:
    """All schedules, each with its latest run."""
    visit.require(Permission.READ)
    return visit.page(
        "schedules.html", schedules=schedules.list_schedules(visit, ScheduleQuery.model_validate({"limit": 200})).items
    )


def show(visit: Visit, schedule_id: UUID) -> Response:
    """One schedule and its runs."""
    visit.require(Permission.READ)
    return visit.page(
        "schedule.html",
        schedule=schedules.get_schedule(visit, schedule_id),
        runs=schedules.list_runs(visit, schedule_id, RunQuery.model_validate({"limit": 50})).items,
    )


def act(visit: Visit, schedule_id: UUID, act: str) -> Response:
    """Pause, resume or run now."""
    visit.require(Permission.OPERATE)
    visit.form(())
    if act not in ACTS:
        raise not_found("page")
    ACTS[act](visit, schedule_id)
    return see_other(f"/schedules/{schedule_id}")
