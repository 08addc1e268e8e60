"""Recurring harvests: schedules, their runs, and what became of every record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from perdura.accounts.principals import Permission
from perdura.accounts.rights import Thing, hides, visible
from perdura.api import cursors, links
from perdura.api.models.schedules import (
    BatchAnswer,
    ItemAnswer,
    ItemPage,
    ItemQuery,
    RunAnswer,
    RunChanged,
    RunDetail,
    RunPage,
    RunQuery,
    ScheduleAnswer,
    ScheduleChange,
    SchedulePage,
    ScheduleQuery,
    ScheduleRequest,
)
from perdura.api.operations import Call, Section
from perdura.api.problems import blaming, not_found
from perdura.api.queries import schedules as queries
from perdura.api.queries.rows import AnyRow
from perdura.errors import Rejected
from perdura.registry import runs as run_registry
from perdura.registry import schedules as registry
from perdura.registry.run_states import RunState, ScheduleState
from perdura.registry.transitions import HARVEST_PIPELINE, check_pipeline
from perdura.runtime import schedules as runtime
from perdura.settings import Settings
from perdura.sources.listing import check_source, ways
from perdura.sources.profile import profiles
from perdura.steps.harvest_schedule import Counts

section = Section("Schedules")


@section.get("/schedules", permission=Permission.READ)
def list_schedules(call: Call, query: ScheduleQuery) -> SchedulePage:
    """List recurring harvests, newest first, each with its latest run."""
    after = cursors.place(query.cursor)
    rows = queries.page(call.connection, state=query.state, limit=query.limit + 1, after=after)
    shown, following = cursors.cut(rows, query.limit)
    return SchedulePage(
        items=_schedules(call, shown),
        next=following,
    )


@section.post("/schedules", permission=Permission.OPERATE, status=201)
def create_schedule(call: Call, body: ScheduleRequest) -> ScheduleAnswer:
    """Make a recurring harvest. Its harvests use the credentials of whoever makes it."""
    pipeline = tuple(body.pipeline) if body.pipeline else HARVEST_PIPELINE
    _check_pipeline(pipeline)
    _check_source(body, call.services.settings)
    with blaming("body.cron"):
        due = runtime.next_time(body.cron)
    wanted = registry.Wanted(
        **body.model_dump(exclude={"set", "collection", "since", "paused", "pipeline"}),
        set_name=body.set,
        collection_id=body.collection,
        pipeline=pipeline,
    )
    schedule = registry.create(call.connection, wanted, owner=_caller(call), since=body.since, next_at=due)
    if body.paused:
        registry.put_state(call.connection, schedule, ScheduleState.PAUSED, None)
    call.objects.append(schedule)
    call.detail |= body.model_dump(exclude_unset=True, mode="json")
    return _schedule(call, schedule)


@section.get("/schedules/<uuid:schedule_id>", permission=Permission.READ)
def get_schedule(call: Call, schedule_id: UUID) -> ScheduleAnswer:
    """One recurring harvest."""
    return _schedule(call, schedule_id)


@section.patch("/schedules/<uuid:schedule_id>", permission=Permission.OPERATE)
def change_schedule(call: Call, schedule_id: UUID, body: ScheduleChange) -> ScheduleAnswer:
    """Change the named members. A run under way goes on with what it was begun with, except for its pace."""
    row = registry.find(call.connection, schedule_id, lock=True)
    names = {"set": "set_name", "collection": "collection_id"}
    nullable = {"set", "collection", "record_limit"}
    given = body.model_dump(exclude_unset=True)
    values = {names.get(name, name): value for name, value in given.items() if value is not None or name in nullable}
    if body.pipeline:
        _check_pipeline(body.pipeline)
    call.detail |= body.model_dump(exclude_unset=True, mode="json")
    active = row.state == ScheduleState.ACTIVE
    with blaming("body.cron"):
        due = runtime.next_time(body.cron or row.cron)
    if values:
        within = call.principal.told_scopes
        registry.change(call.connection, schedule_id, values, next_at=due if active else None, scopes=within)
    return _schedule(call, schedule_id)


@section.delete("/schedules/<uuid:schedule_id>", permission=Permission.OPERATE)
def retire_schedule(call: Call, schedule_id: UUID) -> ScheduleAnswer:
    """End a recurring harvest for good. Its runs and their records stay on file, and so does what it harvested."""
    registry.put_state(call.connection, schedule_id, ScheduleState.RETIRED, None)
    return _schedule(call, schedule_id)


@section.post("/schedules/<uuid:schedule_id>/pause", permission=Permission.OPERATE)
def pause_schedule(call: Call, schedule_id: UUID) -> ScheduleAnswer:
    """Begin no more runs. A run under way goes on; it can be paused itself."""
    registry.put_state(call.connection, schedule_id, ScheduleState.PAUSED, None)
    return _schedule(call, schedule_id)


@section.post("/schedules/<uuid:schedule_id>/resume", permission=Permission.OPERATE)
def resume_schedule(call: Call, schedule_id: UUID) -> ScheduleAnswer:
    """Begin runs again; the first covers everything since the last.

    A schedule that is paused because its account is shut is the caller's from now on, and so are its credentials.
    """
    row = registry.find(call.connection, schedule_id, lock=True)
    if row.owner_shut:
        registry.take_over(call.connection, schedule_id, _caller(call))
        call.detail["owner_before"] = row.owner_name
    registry.put_state(call.connection, schedule_id, ScheduleState.ACTIVE, runtime.next_time(row.cron))
    return _schedule(call, schedule_id)


@section.get("/schedules/<uuid:schedule_id>/runs", permission=Permission.READ)
def list_runs(call: Call, schedule_id: UUID, query: RunQuery) -> RunPage:
    """Runs of a schedule, newest first."""
    registry.find(call.connection, schedule_id)
    after = cursors.place(query.cursor)
    rows = queries.runs(call.connection, schedule_id, limit=query.limit + 1, after=after)
    shown, following = cursors.cut(rows, query.limit)
    return RunPage(
        items=_runs(call, shown),
        next=following,
    )


@section.post("/schedules/<uuid:schedule_id>/runs", permission=Permission.OPERATE, status=202)
def run_schedule(call: Call, schedule_id: UUID) -> RunDetail:
    """Run it now. 409 when a run is not finished, or when nothing can be new yet."""
    run, events = runtime.run_now(call.connection, schedule_id)
    call.emit(events)
    return _run(call, run)


@section.get("/runs/<uuid:run_id>", permission=Permission.READ)
def get_run(call: Call, run_id: UUID) -> RunDetail:
    """One run with its batches and what became of its records."""
    return _run(call, run_id)


@section.get("/runs/<uuid:run_id>/items", permission=Permission.READ_RESTRICTED)
def list_run_items(call: Call, run_id: UUID, query: ItemQuery) -> ItemPage:
    """Records of a run in the order of their listing, restricted ones among them."""
    run_registry.find(call.connection, run_id)
    after = cursors.decode_sequence(query.cursor) if query.cursor is not None else 0
    rows = queries.items(call.connection, run_id, state=query.state, limit=query.limit + 1, after=after)
    shown = rows[: query.limit]
    return ItemPage(
        items=[
            ItemAnswer(
                recid=row.recid,
                source=row.source,
                title=row.title,
                revision=row.revision,
                state=row.state,
                batch=row.batch,
                archive=row.archive_id,
                error=row.error_code,
                message=row.message,
                updated=row.updated_at,
            )
            for row in shown
        ],
        next=cursors.encode_sequence(shown[-1].position) if len(rows) > query.limit else None,
    )


@section.post("/runs/<uuid:run_id>/pause", permission=Permission.OPERATE)
def pause_run(call: Call, run_id: UUID) -> RunChanged:
    """Start nothing more; what is being harvested goes on."""
    runtime.pause(call.connection, run_id)
    return _changed(call, run_id)


@section.post("/runs/<uuid:run_id>/resume", permission=Permission.OPERATE)
def resume_run(call: Call, run_id: UUID) -> RunChanged:
    """Go on where it was paused; the failures so far no longer count against it."""
    call.emit(runtime.resume(call.connection, run_id))
    return _changed(call, run_id)


@section.post("/runs/<uuid:run_id>/cancel", permission=Permission.OPERATE)
def cancel_run(call: Call, run_id: UUID) -> RunChanged:
    """End a run: records that were not begun are cancelled, those being harvested go on."""
    return _changed(call, run_id, runtime.cancel(call.connection, run_id))


@section.post("/runs/<uuid:run_id>/retry", permission=Permission.OPERATE, status=202)
def retry_run(call: Call, run_id: UUID) -> RunChanged:
    """Harvest the failed records of a run again."""
    number, events = runtime.retry_failed(call.connection, run_id)
    call.emit(events)
    return _changed(call, run_id, number)


def _caller(call: Call) -> registry.Owner:
    return registry.Owner(call.principal.account, call.principal.name, call.principal.told_scopes)


def _check_pipeline(steps: Iterable[str]) -> None:
    steps = tuple(steps)
    with blaming("body.pipeline"):
        check_pipeline(steps)
        if steps[0] != "harvest":
            raise Rejected("The pipeline of a schedule begins with `harvest`.", code="impossible-pipeline")


def _check_source(body: ScheduleRequest, settings: Settings) -> None:
    profile = profiles(settings).get(body.source)
    field = "source" if profile is None else "way" if body.way not in ways(profile) else "base_url"
    with blaming(f"body.{field}"):
        check_source(body.source, body.way, settings, base_url=body.base_url)


def _schedule(call: Call, schedule_id: UUID) -> ScheduleAnswer:
    row = queries.find(call.connection, schedule_id)
    if row is None:
        raise not_found("schedule")
    return _schedules(call, [row])[0]


def _schedules(call: Call, rows: Iterable[AnyRow]) -> list[ScheduleAnswer]:
    rows = list(rows)
    latest = queries.latest_runs(call.connection, [row.id for row in rows])
    shown = dict(zip(latest, _runs(call, latest.values()), strict=True))
    named = [(Thing.COLLECTION, row.collection_id) for row in rows if row.collection_id is not None]
    seen = {identifier for _, identifier in visible(call.connection, call.principal, named)}
    return [
        ScheduleAnswer(
            id=row.id,
            name=row.name,
            source=row.source,
            way=row.way,
            query=row.query,
            set=row.set_name,
            follows=row.follows,
            cron=row.cron,
            state=row.state,
            reason=registry.SHUT if row.owner_shut and row.state != ScheduleState.RETIRED else None,
            pipeline=row.pipeline,
            collection=row.collection_id if row.collection_id in seen else None,
            record_limit=row.record_limit,
            concurrency=row.concurrency,
            overlap_seconds=row.overlap_seconds,
            grace_seconds=row.grace_seconds,
            failures_at_least=row.failures_at_least,
            failure_share=row.failure_share,
            base_url=row.base_url,
            owner=row.owner_name,
            done_until=row.done_until,
            next=row.next_at if row.state == ScheduleState.ACTIVE else None,
            created=row.created_at,
            updated=row.updated_at,
            last_run=shown.get(row.id),
            links=links.schedule_links(row.id),
        )
        for row in rows
    ]


def _runs(call: Call, rows: Iterable[AnyRow]) -> list[RunAnswer]:
    rows = list(rows)
    counts = _counts(call, rows)
    return [RunAnswer(**_run_members(row, counts.get(row.id))) for row in rows]


def _counts(call: Call, rows: Sequence[AnyRow]) -> Mapping[UUID, Counts]:
    """What became of the records of runs; of none for callers to whom the numbers would tell of hidden Archives."""
    if hides(call.principal):
        return {}
    found = queries.counts(call.connection, [row.id for row in rows])
    return {run: Counts(**counts) for run, counts in found.items()}


def _run(call: Call, run_id: UUID) -> RunDetail:
    row = queries.run(call.connection, run_id)
    if row is None:
        raise not_found("run")
    batches = [
        BatchAnswer(
            number=batch.number,
            starts=batch.starts,
            ends=batch.ends,
            total=None if hides(call.principal) else batch.total,
            pages=batch.pages,
            listed=batch.listed_at,
        )
        for batch in queries.batches(call.connection, run_id)
    ]
    return RunDetail(**_run_members(row, _counts(call, [row]).get(run_id)), batches=batches)


def _run_members(row: AnyRow, counts: Counts | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "schedule": row.schedule_id,
        "state": row.state,
        "reason": row.reason,
        "ends": row.target,
        "counts": counts,
        "created": row.created_at,
        "listed": row.listed_at,
        "finished": row.finished_at,
        "links": links.run_links(row.id, row.schedule_id),
    }


def _changed(call: Call, run_id: UUID, items: int = 0) -> RunChanged:
    row = run_registry.find(call.connection, run_id)
    return RunChanged(
        run=run_id, state=RunState(row.state), items=items, links=links.run_links(run_id, row.schedule_id)
    )
