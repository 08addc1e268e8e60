"""Tape, for operators: how the destination is, its jobs, and what may be asked of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Response
from sqlalchemy import Row

from perdura.accounts.principals import Permission
from perdura.api import cursors
from perdura.api.models.tape import (
    CredentialsAnswer,
    DrillAnswer,
    PauseAnswer,
    PauseRequest,
    PriorityRequest,
    RestoredAnswer,
    TapeAnswer,
    TapeJobAnswer,
    TapeJobPage,
    TapeJobQuery,
    TapeRetryAnswer,
)
from perdura.api.operations import Call, Section
from perdura.api.problems import not_found
from perdura.api.queries import tape as queries
from perdura.registry import tape_wishes
from perdura.runtime.metrics import MEDIA_TYPE, Kind, Metric, Sample, exposition

section = Section("Tape")

_JOBS_IN_FLIGHT = Metric("perdura_tape_jobs_in_flight", Kind.GAUGE, "Jobs open at FTS.")
_PAUSED = Metric("perdura_tape_paused", Kind.GAUGE, "1 while no new jobs are submitted.")
_COPIES = Metric("perdura_tape_copies", Kind.GAUGE, "Copies on tape.")
_BROKEN_COPIES = Metric("perdura_tape_broken_copies", Kind.GAUGE, "Copies on tape that were found lost or damaged.")
_BYTES = Metric("perdura_tape_bytes", Kind.GAUGE, "Bytes of the copies on tape.")
_WAITING = Metric("perdura_tape_waiting", Kind.GAUGE, "Archives that wait for tape.")
_DAYS_LEFT = Metric("perdura_tape_certificate_days_left", Kind.GAUGE, "Days until the robot certificate expires.")


@section.get("/tape", permission=Permission.OPERATE)
def get_tape(call: Call) -> TapeAnswer:
    """How the tape destination is: jobs in flight, what waits, copies, drills, recalled copies, credentials."""
    return _overview(call)


@section.get("/tape/metrics", permission=Permission.OPERATE, media=(MEDIA_TYPE,))
def get_tape_metrics(call: Call) -> Response:
    """The figures of the tape destination for Prometheus, among them the days left of our certificate."""
    found = _overview(call)
    figures: list[Sample] = [
        (_JOBS_IN_FLIGHT, {}, found.in_flight),
        (_PAUSED, {}, int(found.pause is not None)),
        (_COPIES, {}, found.copies),
        (_BROKEN_COPIES, {}, found.broken_copies),
        (_BYTES, {}, found.bytes),
        (_WAITING, {}, sum(found.waiting.values())),
    ]
    if found.credentials is not None and found.credentials.days_left is not None:
        figures.append((_DAYS_LEFT, {}, found.credentials.days_left))
    return Response(exposition(figures), content_type=MEDIA_TYPE)


@section.post("/tape/pause", permission=Permission.OPERATE)
def pause_tape(call: Call, body: PauseRequest) -> TapeAnswer:
    """Submit no new jobs to tape until resumed; those under way are followed to their end."""
    tape_wishes.pause(call.connection, body.reason, call.principal.name)
    call.detail["reason"] = body.reason
    return _overview(call)


@section.post("/tape/resume", permission=Permission.OPERATE)
def resume_tape(call: Call) -> TapeAnswer:
    """Submit jobs to tape again."""
    tape_wishes.resume(call.connection)
    return _overview(call)


@section.get("/tape/jobs", permission=Permission.OPERATE)
def list_tape_jobs(call: Call, query: TapeJobQuery) -> TapeJobPage:
    """Jobs asked of the tape system, newest first, with its own words."""
    after = cursors.decode(query.cursor, 2) if query.cursor else None
    place = (cursors.instant(after[0]), after[1]) if after else None
    rows = queries.jobs(call.connection, call.principal, still_open=query.open, limit=query.limit + 1, after=place)
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return TapeJobPage(
        items=[_job(row, call.services.settings.tape_status_url) for row in shown],
        next=cursors.encode(shown[-1].intended_at.isoformat(), shown[-1].key) if more else None,
    )


@section.post("/tape/jobs/<uuid:job_id>/cancel", permission=Permission.OPERATE, status=202)
def cancel_tape_job(call: Call, job_id: UUID) -> None:
    """Cancel a job at the next look; its step is then blocked, and may be retried. 409 when the job is over.

    What was copied to the tape system before may still reach tape; a retry finds it.
    """
    _seen(call, job_id)
    tape_wishes.cancel(call.connection, job_id, call.principal.name)


@section.post("/tape/jobs/<uuid:job_id>/priority", permission=Permission.OPERATE, status=202)
def prioritise_tape_job(call: Call, job_id: UUID, body: PriorityRequest) -> None:
    """Give a job another priority at the next look. 409 when the job is over."""
    _seen(call, job_id)
    call.detail["priority"] = body.priority
    tape_wishes.prioritise(call.connection, job_id, body.priority)


def _seen(call: Call, job_id: UUID) -> None:
    """Note the job as what the request is about; raises the 404 that a missing one has for a hidden one too."""
    call.objects.append(job_id)
    if not queries.shows_job(call.connection, call.principal, job_id):
        raise not_found("job")


def _overview(call: Call) -> TapeAnswer:
    settings = call.services.settings
    row = queries.overview(call.connection)
    drilled = row.drilled_at + timedelta(days=settings.tape_drill_days) if row.drilled_at else None
    return TapeAnswer(
        pause=PauseAnswer(by=row.paused_by, reason=row.pause_reason, since=row.paused_at) if row.paused_at else None,
        in_flight=row.in_flight,
        limit=settings.tape_jobs_in_flight,
        waiting=row.waiting,
        copies=row.copies,
        broken_copies=row.broken,
        bytes=int(row.bytes),
        containers=row.containers,
        oldest_verification=row.oldest,
        drills=[
            DrillAnswer(archive=each.archive_id, step=each.id, state=each.state, finished=each.finished_at)
            for each in queries.drills(call.connection, call.principal)
        ],
        next_drill=drilled if settings.tape_drill_days else None,
        restored=[_restored(each) for each in queries.restored(call.connection, call.principal)],
        credentials=_credentials(row),
    )


def _restored(row: Row[Any]) -> RestoredAnswer:
    found = row.recall
    return RestoredAnswer(
        archive=row.archive_id,
        step=row.id,
        bucket=found["bucket"],
        key=found["key"],
        bytes=found["bytes"],
        expires=found["expires_at"],
    )


def _credentials(row: Row[Any]) -> CredentialsAnswer | None:
    if row.credentials is None:
        return None
    expires = row.credentials.get("expires_at")
    left = (datetime.fromisoformat(expires) - datetime.now(UTC)).total_seconds() / 86400 if expires else None
    return CredentialsAnswer(
        holder=row.credentials.get("holder"),
        expires=expires,
        days_left=None if left is None else round(left, 1),
        proxy_expires=row.credentials.get("proxy_expires_at"),
        error=row.credentials.get("error"),
        checked=row.credentials_at,
    )


def _job(row: Row[Any], monitor: str | None) -> TapeJobAnswer:
    return TapeJobAnswer(
        key=row.key,
        job=row.job_id,
        archive=row.archive_id,
        container=row.container_id,
        path=row.path,
        size=row.size,
        priority=row.priority,
        state=row.state,
        reason=row.reason,
        file_state=row.file_state,
        log_file=row.log_file,
        retries=[TapeRetryAnswer(**each) for each in row.retries],
        server=row.server,
        holder=row.holder,
        wanted_priority=row.wanted_priority,
        cancelled_by=row.cancelled_by,
        intended=row.intended_at,
        submitted=row.submitted_at,
        looked_at=row.looked_at,
        ended=row.ended_at,
        monitor=f"{monitor.rstrip('/')}/fts3/ftsmon/#/job/{row.job_id}" if monitor and row.job_id else None,
    )
