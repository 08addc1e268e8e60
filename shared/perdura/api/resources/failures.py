"""Failures: what has stopped, grouped by cause, and the retry of a whole group."""

from __future__ import annotations

from uuid import UUID

from perdura.accounts.principals import Permission
from perdura.api.models.failures import CauseAnswer, CauseList, CauseRequest, FailuresQuery
from perdura.api.models.steering import JobAnswer
from perdura.api.operations import Call, Section
from perdura.api.queries import failures
from perdura.api.resources.jobs import found
from perdura.registry import jobs
from perdura.registry.steering import Act
from perdura.registry.transitions import ArchiveState

section = Section("Failures")

RETRIABLE = (ArchiveState.FAILED, ArchiveState.BLOCKED)


@section.get("/failures", permission=Permission.READ)
def list_failures(call: Call, query: FailuresQuery) -> CauseList:
    """What has stopped, grouped by step, cause and state, the most frequent first."""
    return CauseList(
        items=[
            CauseAnswer(
                step=cause.name,
                code=cause.code,
                state=ArchiveState(cause.state),
                archives=cause.count,
                message=cause.message,
                last=cause.last,
                retriable=cause.state in RETRIABLE,
            )
            for cause in failures.causes(call.connection, call.principal, query.limit)
        ]
    )


@section.post("/failures/retry", permission=Permission.OPERATE, status=202)
def retry_failures(call: Call, body: CauseRequest) -> JobAnswer:
    """Retry all Archives that one cause has stopped, in the background. 409 when there are none."""
    return found(call, retry_all(call, body))


def retry_all(call: Call, cause: CauseRequest) -> UUID:
    """Make the job. Raises Conflict when that cause has stopped nothing, or too much."""
    told = cause.model_dump()
    stopped = failures.every(call.connection, call.principal, **told, limit=jobs.LARGEST + 1)
    call.detail |= {**told, "archives": len(stopped)}
    items = ({"archive": archive} for archive in stopped)
    job = jobs.make(call.connection, Act.RETRY, items, by=call.asker, given=told)
    call.objects.append(job)
    return job
