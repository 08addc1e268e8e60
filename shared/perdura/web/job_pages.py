"""Bulk work for people: what would be done, doing it, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import Response
from pydantic import Field

from perdura.accounts.principals import Permission
from perdura.api import cursors, naming
from perdura.api.models.archives import ArchiveFilter
from perdura.api.models.base import Request
from perdura.api.models.steering import JobRequest
from perdura.api.naming import ArchiveId
from perdura.api.problems import FieldError, Problem, not_found, problem_of
from perdura.api.queries import jobs
from perdura.api.resources import jobs as resource
from perdura.errors import Conflict
from perdura.registry import jobs as registry
from perdura.registry.transitions import FOLLOWERS
from perdura.web import collection_choice, paging
from perdura.web.query_string import address, checked, read_values
from perdura.web.visit import Visit, see_other

SHOWN = 50
ITEMS = 100
ITEM_STATES = frozenset({"queued", "done", "failed"})
ACTS = ("retry", "skip", "cancel", "run", "collect", "take-out")


class Selection(Request):
    """Archives that were chosen one by one in the list; none: those of the filter."""

    archives: list[ArchiveId] = Field(default_factory=list, max_length=200)


def listing(visit: Visit) -> Response:
    """Jobs, newest first."""
    visit.require(Permission.READ)
    after = cursors.place(visit.request.args.get("cursor"))
    rows = jobs.page(visit.connection, visit.principal, limit=SHOWN + 1, after=after)
    shown, last = cursors.cut(rows, SHOWN)
    answers = [resource.answer(row) for row in shown]
    return visit.page("jobs.html", jobs=answers, following=paging.following("/jobs", last))


def plan(visit: Visit) -> Response:
    """What an act on the Archives of a filter, or on chosen ones, would do; asked again when the act is changed."""
    visit.require(Permission.OPERATE)
    asked = visit.request.args
    wanted, chosen = read_values(asked, ArchiveFilter), read_values(asked, Selection).archives
    named = [*naming.in_model(wanted, "query"), *naming.in_model(Selection(archives=chosen), "query")]
    naming.check(visit.connection, visit.principal, named)
    if asked.get("chosen") and not chosen:
        told = FieldError("query.archives", "none is chosen")
        raise Problem(422, "Choose Archives in the list first.", "invalid", (told,))
    act = asked.get("act", "retry")
    if act not in ACTS:
        raise not_found("act")
    return _planned(visit, act, wanted, chosen)


def _planned(
    visit: Visit, act: str, wanted: ArchiveFilter, chosen: Sequence[UUID], problem: Problem | None = None
) -> Response:
    """The plan; with the problem of one that was confirmed and cannot be done."""
    return visit.page(
        "job_plan.html",
        status=problem.status if problem is not None else 200,
        problem=problem,
        act=act,
        acts=ACTS,
        filter=wanted,
        chosen=chosen,
        back=address(wanted, {}),
        plan=jobs.plan(visit.connection, visit.principal, act, chosen or wanted.criteria()),
        into=visit.request.form.get("into", collection_choice.of_filter(visit, wanted) if act == "take-out" else ""),
        steps=sorted({step for following in FOLLOWERS.values() for step in following}),
        collections=collection_choice.offered(visit),
    )


def begin(visit: Visit) -> Response:
    """Begin what was confirmed; its plan is shown again where that cannot be done any more."""
    visit.require(Permission.OPERATE)
    visit.form(())
    form = visit.request.form
    narrowed, chosen = read_values(form, ArchiveFilter), read_values(form, Selection).archives
    given: dict[str, Any] = {"act": form.get("act", "")}
    given |= {"archives": chosen} if chosen else {"filter": narrowed.given()}
    if given["act"] == "run":
        given["steps"] = [step for step in form.getlist("steps") if step]
    if given["act"] in {"collect", "take-out"}:
        try:
            given["collection"] = collection_choice.chosen(visit, "into", form.get("into", "").strip()) or None
        except Problem as refused:
            return _planned(visit, given["act"], narrowed, chosen, refused)
    wanted = checked(JobRequest, given)
    naming.check(visit.connection, visit.principal, naming.in_model(wanted, "form"))
    try:
        job = resource.begin(visit, wanted)
    except Conflict as refused:
        return _planned(visit, wanted.act, narrowed, chosen, problem_of(refused))
    return see_other(f"/jobs/{job}")


def show(visit: Visit, job_id: UUID) -> Response:
    """One job; what may have changed asks to be fetched again until it has ended."""
    visit.require(Permission.READ)
    row = jobs.find(visit.connection, visit.principal, job_id)
    if row is None:
        raise not_found("job")
    job = resource.answer(row)
    asked = visit.request.args
    chosen = asked.get("state") if asked.get("state") in ITEM_STATES else None
    state = chosen or ("failed" if job.failed and "state" not in asked else None)
    after = cursors.decode_sequence(asked["cursor"]) if asked.get("cursor") else None
    found = jobs.items(visit.connection, visit.principal, job_id, limit=ITEMS + 1, after=after, state=state)
    last = cursors.encode_sequence(found[ITEMS - 1].position) if len(found) > ITEMS else None
    return visit.page(
        "job_live.html" if visit.is_fragment else "job.html",
        job=job,
        items=found[:ITEMS],
        state=state,
        following=paging.following(f"/jobs/{job_id}", last, state=state or ""),
        followed=visit.address,
        final=job.state in {"completed", "cancelled"},
    )


def cancel(visit: Visit, job_id: UUID) -> Response:
    """Do no more of it."""
    visit.require(Permission.OPERATE)
    visit.form(())
    if jobs.find(visit.connection, visit.principal, job_id) is None:
        raise not_found("job")
    registry.cancel(visit.connection, job_id)
    return see_other(f"/jobs/{job_id}")
