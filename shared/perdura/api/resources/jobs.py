"""Jobs: one act on many Archives, planned, begun, followed and stopped."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from perdura.accounts.principals import Permission
from perdura.api import cursors, links, naming
from perdura.api.models.base import Page
from perdura.api.models.steering import (
    JobAnswer,
    JobItemAnswer,
    JobItemPage,
    JobItemQuery,
    JobPage,
    JobRequest,
    PlanAnswer,
)
from perdura.api.operations import Call, Section
from perdura.api.queries import jobs
from perdura.api.queries.criteria import Criteria
from perdura.api.queries.rows import AnyRow
from perdura.registry import jobs as registry
from perdura.registry.job_tables import Job

section = Section("Jobs")


def answer(row: AnyRow) -> JobAnswer:
    """A job as it is shown."""
    return JobAnswer(
        id=row.id,
        act=row.act,
        input=row.input,
        state=row.state,
        total=row.total,
        done=row.done,
        failed=row.failed,
        waits_for=row.waits_for,
        created_by=row.created_by,
        created=row.created_at,
        finished=row.finished_at,
        links={"self": links.job(row.id), "items": f"{links.job(row.id)}/items", "html": f"/jobs/{row.id}"},
    )


def found(call: Call, job_id: UUID) -> JobAnswer:
    """The job of that id; raises a 404."""
    row = jobs.find(call.connection, call.principal, job_id)
    if row is None:
        raise naming.missing(call.connection, "job", Job.id, job_id)
    return answer(row)


def _wanted(body: JobRequest) -> Criteria | Sequence[UUID]:
    return body.filter.criteria() if body.filter is not None else body.archives or ()


def begin(call: Call, body: JobRequest) -> UUID:
    """Make the job. Raises Conflict when there is nothing to do, or more than one job does."""
    archives = jobs.eligible(call.connection, call.principal, body.act, _wanted(body))
    given = {
        **({"filter": body.filter.given()} if body.filter is not None else {}),
        **({"steps": body.steps} if body.steps else {}),
        **({"collection": str(body.collection)} if body.collection else {}),
    }
    call.detail.update({"act": body.act, "archives": len(archives)})
    job = registry.make(
        call.connection, body.act, ({"archive": archive} for archive in archives), by=call.asker, given=given
    )
    call.objects.append(job)
    return job


@section.post("/jobs/plan", permission=Permission.OPERATE)
def plan_job(call: Call, body: JobRequest) -> PlanAnswer:
    """Say what a job would do. Nothing is done."""
    planned = jobs.plan(call.connection, call.principal, body.act, _wanted(body))
    return PlanAnswer(
        act=body.act,
        total=planned.total,
        eligible=planned.eligible,
        fits=planned.fits,
        states=planned.states,
        steps=body.steps,
    )


@section.post("/jobs", permission=Permission.OPERATE, status=202)
def create_job(call: Call, body: JobRequest) -> JobAnswer:
    """Begin one act on many Archives, in the background.

    The Archives are fixed now; those for which the act makes no sense are left out. 409 when none are left, or more
    than 200,000.
    """
    job = begin(call, body)
    return found(call, job)


@section.get("/jobs", permission=Permission.READ)
def list_jobs(call: Call, query: Page) -> JobPage:
    """List jobs, newest first: one's own, or all for who may operate."""
    after = cursors.place(query.cursor)
    rows = jobs.page(call.connection, call.principal, limit=query.limit + 1, after=after)
    shown, following = cursors.cut(rows, query.limit)
    return JobPage(
        items=[answer(row) for row in shown],
        next=following,
    )


@section.get("/jobs/<uuid:job_id>", permission=Permission.READ)
def get_job(call: Call, job_id: UUID) -> JobAnswer:
    """A job and how far it is."""
    return found(call, job_id)


@section.get("/jobs/<uuid:job_id>/items", permission=Permission.READ)
def list_job_items(call: Call, job_id: UUID, query: JobItemQuery) -> JobItemPage:
    """What became of each thing of a job."""
    found(call, job_id)
    after = cursors.decode_sequence(query.cursor) if query.cursor else None
    rows = jobs.items(call.connection, call.principal, job_id, limit=query.limit + 1, after=after, state=query.state)
    shown = rows[: query.limit]
    return JobItemPage(
        items=[
            JobItemAnswer(
                position=row.position,
                archive=row.archive_id,
                subject=row.subject,
                state=row.state,
                code=row.code,
                message=row.message,
            )
            for row in shown
        ],
        next=cursors.encode_sequence(shown[-1].position) if len(rows) > query.limit else None,
    )


@section.post("/jobs/<uuid:job_id>/cancel", permission=Permission.OPERATE)
def cancel_job(call: Call, job_id: UUID) -> JobAnswer:
    """Do no more of a job; what was done stays. 409 when it has ended."""
    found(call, job_id)
    registry.cancel(call.connection, job_id)
    return found(call, job_id)
