"""Tape: how the destination is, what is on its way there and back, and what an operator may ask of its jobs."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import presentation
from perdura.api.models.tape import PauseRequest, PriorityRequest, TapeJobQuery
from perdura.api.queries import tape_steps
from perdura.api.resources import tape
from perdura.web import paging
from perdura.web.query_string import checked, read_query
from perdura.web.visit import Visit, see_other

SHOWN = 50


def show(visit: Visit) -> Response:
    """The destination for operators, the steps that are under way, and those that ended last."""
    visit.require(Permission.READ)
    settings = visit.services.settings
    under_way = tape_steps.under_way(visit.connection, visit.principal, SHOWN + 1)
    return visit.page(
        "tape.html",
        configured=settings.tape_fts_url is not None,
        paused=settings.tape_paused,
        status_url=settings.tape_status_url,
        overview=tape.get_tape(visit) if visit.principal.may(Permission.OPERATE) else None,
        under_way=[(row, presentation.step(row)) for row in under_way[:SHOWN]],
        more=len(under_way) > SHOWN,
        recalled=[
            (row, presentation.step(row)) for row in tape_steps.recalls(visit.connection, visit.principal, SHOWN)
        ],
    )


def jobs(visit: Visit) -> Response:
    """Jobs at the tape system, newest first, in its own words."""
    visit.require(Permission.OPERATE)
    query = read_query(visit, TapeJobQuery)
    found = tape.list_tape_jobs(visit, query)
    only = None if query.open is None else str(query.open).lower()
    return visit.page(
        "tape_jobs.html",
        jobs=found.items,
        open=query.open,
        following=paging.following("/tape/jobs", found.next, open=only),
    )


def act(visit: Visit, act: str) -> Response:
    """Submit nothing more, or go on."""
    visit.require(Permission.OPERATE)
    fields = visit.form(("reason",))
    if act == "resume":
        tape.resume_tape(visit)
        return see_other("/tape")
    tape.pause_tape(visit, checked(PauseRequest, fields))
    return see_other("/tape")


def act_on_job(visit: Visit, job_id: UUID, act: str) -> Response:
    """Cancel a job, or give it another priority."""
    visit.require(Permission.OPERATE)
    fields = visit.form(("priority",))
    if act == "cancel":
        tape.cancel_tape_job(visit, job_id)
        return see_other("/tape/jobs?open=true")
    tape.prioritise_tape_job(visit, job_id, checked(PriorityRequest, fields))
    return see_other("/tape/jobs?open=true")
