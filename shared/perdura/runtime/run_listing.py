"""Listing a run: every record of its window is queued, page by page, before the schedule's cursor moves past it.

One invocation walks as far as its time allows and asks to be continued; a page and what it leads to are one
transaction. What is known under the revision that is listed is not fetched: an event says so (harvesting.md 3.2, 6.9).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from perdura.clients.http import HttpClient
from perdura.cloudevents.build import build
from perdura.cloudevents.catalogue import HarvestRunRequested
from perdura.cloudevents.message import CloudEvent
from perdura.errors import NotFound, Rejected, Retryable, UpstreamUnavailable
from perdura.premis import log
from perdura.premis.model import Event
from perdura.registry import inbox, outbox, runs, schedules
from perdura.registry.run_states import ItemState, RunState
from perdura.registry.runs import Batch, NewItem, Seen
from perdura.runtime import faults, metrics
from perdura.runtime.answers import Answer
from perdura.runtime.budget import registry_budget
from perdura.runtime.delivery import Delivered, without_room
from perdura.runtime.environment import Environment, TimeBudget
from perdura.runtime.extras import credential_of
from perdura.runtime.schedules import LIST_REQUEST, SOURCE, move
from perdura.sources import listing
from perdura.sources.catalogue import Recognised
from perdura.sources.listing import Listed, ListedPage
from perdura.sources.profile import Profile, profiles
from perdura.sources.protocols import client_for
from perdura.steps import harvest_run_events
from perdura.steps.harvest_schedule import (
    Cursor,
    Item,
    Known,
    Verdict,
    Window,
    cut,
    finish,
    judge,
    search_query,
)

_log = logging.getLogger(__name__)

FUNCTION = "harvest"
WAIT = 60.0
"""Seconds after which a listing is tried again when the upstream does not say how long to wait."""

RESTARTS = 5
"""How often a walk begins again because records left its window meanwhile, before it is given back."""

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Where windows without a beginning are cut first, when the upstream does not show its oldest record."""


@dataclass(frozen=True, slots=True)
class _Walk:
    """What one invocation needs to list a run."""

    environment: Environment
    run: UUID
    profile: Profile
    base_url: str
    client: HttpClient
    way: str
    query: str
    set_name: str | None
    follows: str
    deadline: TimeBudget


class _Interrupted(Exception):
    """The run was paused or cancelled meanwhile."""


def deliver(environment: Environment, event: CloudEvent) -> Delivered:
    """List the run that `event` asks for: at most one worker at a time, and none without room for what it holds."""
    with environment.room.entered() as inside:
        return _deliver(environment, event) if inside else without_room(event)


def _deliver(environment: Environment, event: CloudEvent) -> Delivered:
    run = HarvestRunRequested.model_validate(event.data).run
    with environment.engine.connect() as connection, connection.begin() as transaction:
        claim = inbox.claim(connection, FUNCTION, event, f"run {run}")
        metrics.add(metrics.CLAIMS, claim=claim)
        match claim:
            case inbox.Claim.BUSY:
                return Delivered(Answer.BUSY)
            case inbox.Claim.FINISHED:
                return Delivered(Answer.DONE)
            case inbox.Claim.OURS:
                pass
        faults.reach("before-effect")
        try:
            events = _continued(event, run) if _listed(environment, run) is False else []
        except Retryable as error:
            transaction.rollback()
            return _later(environment, run, error)
        except Rejected as error:
            _stopped(environment, run, error)
            events = []
        faults.reach("after-effect")
        outbox.write(connection, events, finished=(FUNCTION, event))
    faults.reach("after-commit")
    return Delivered(Answer.DONE, events)


def _continued(event: CloudEvent, run: UUID) -> list[CloudEvent]:
    return [build(LIST_REQUEST, {"run": run}, source=SOURCE, at=datetime.now(UTC), cause=event, key=run)]


def _later(environment: Environment, run: UUID, error: Retryable) -> Delivered:
    after = error.retry_after or WAIT
    _log.warning("listing of run %s: %s", run, error.message)
    with environment.engine.begin() as connection:
        runs.look_again(connection, run, error.message, after)
    return Delivered(Answer.UNAVAILABLE, retry_after=after)


def _stopped(environment: Environment, run: UUID, error: Rejected) -> None:
    """A query that is not understood, a source that is gone: a person has to look; nothing is lost meanwhile."""
    _log.warning("listing of run %s stopped: %s", run, error.message)
    if isinstance(error, NotFound):
        return
    with environment.engine.begin() as connection:
        runs.put_state(connection, run, RunState.PAUSED, expected=[RunState.LISTING], reason=error.message)


def _listed(environment: Environment, run_id: UUID) -> bool:
    """List what is pending of a run; False when time ran out before the end."""
    with environment.engine.begin() as connection:
        run = runs.find(connection, run_id)
        pending = runs.pending(connection, run_id)
    if run.state != RunState.LISTING:
        return True
    settings = environment.settings
    profile = profiles(settings).get(run.source)
    if profile is None:
        raise Rejected(f"There is no source “{run.source}” any more.", code="unknown-source")
    base_url = profile.base_url or run.base_url or ""
    record = Recognised(profile, "", base_url, base_url)
    token = credential_of(environment.engine, settings, run.owner, run.source)
    with (
        registry_budget(environment.engine, profile) as budget,
        client_for(record, settings, token=token, budget=budget) as client,
    ):
        walk = _Walk(
            environment=environment,
            run=run_id,
            profile=profile,
            base_url=base_url,
            client=client,
            way=run.way,
            query=run.query,
            set_name=run.set_name,
            follows=run.follows,
            deadline=TimeBudget(settings.invocation_seconds),
        )
        try:
            while pending:
                if walk.deadline.near():
                    return False
                parts = _parts(walk, pending[0])
                if len(parts) > 1:
                    with environment.engine.begin() as connection:
                        runs.divide(connection, run_id, pending[0], [_batch(part) for part in parts])
                elif not _batch_listed(walk, pending[0]):
                    return False
                with environment.engine.begin() as connection:
                    pending = runs.pending(connection, run_id)
        except _Interrupted:
            return True
    return True


def _parts(walk: _Walk, batch: Batch) -> Sequence[Window]:
    """The batch's window, or the two it has to be cut into; OAI-PMH shows lists of any length."""
    window = _window(batch)
    if walk.way != "search":
        return (window,)
    query = search_query(walk.query, window, walk.follows)
    extent = listing.extent(walk.profile, walk.base_url, query, walk.client, on=walk.follows)
    return cut(window, extent.total, extent.oldest or BEGINNING, extent.middle_id)


def _batch_listed(walk: _Walk, batch: Batch) -> bool:
    """Queue every record of a batch; False when time ran out. What is reached is kept with every page."""
    number, total = 0, None
    for _ in range(RESTARTS):
        ordered, shifted, begun_with = True, False, None
        last = batch.starts
        for page in _pages(walk, batch):
            number, total = number + 1, page.total
            begun_with = total if begun_with is None else begun_with
            # A record that is changed while we walk leaves the window, and those after it move up: begin again there.
            shifted = walk.way == "search" and total != begun_with
            times = [record.at for record in page.records]
            ordered = ordered and None not in times and times == sorted(times, key=_known_time)
            if ordered and not shifted and times and times[-1] is not None:
                last = max(times[-1].replace(microsecond=0), last or BEGINNING)
            _keep(walk, batch, page, number, last if ordered else None)
            if walk.deadline.near():
                return False
            if shifted:
                break
        if not shifted:
            _finished(walk, batch, number, total)
            return True
        batch = replace(batch, starts=last)
    raise UpstreamUnavailable("The records of this window keep changing while they are listed.", retry_after=WAIT)


def _known_time(value: datetime | None) -> datetime:
    return value or BEGINNING


def _pages(walk: _Walk, batch: Batch) -> Iterator[ListedPage]:
    if walk.way == "search":
        query = search_query(walk.query, _window(batch), walk.follows)
        return listing.by_search(walk.profile, walk.base_url, query, walk.client, on=walk.follows)
    return listing.by_oai(
        walk.profile, walk.base_url, walk.client, since=batch.starts, until=batch.ends, set_name=walk.set_name
    )


def _keep(walk: _Walk, batch: Batch, page: ListedPage, number: int, reached: datetime | None) -> None:
    """One page: stored as received, its records judged and queued, what may start is started."""
    now = datetime.now(UTC)
    suffix = "json" if walk.way == "search" else "xml"
    key = f"runs/{walk.run}/{batch.number:05d}/{now:%Y%m%dT%H%M%S}-{number:05d}.{suffix}"
    walk.environment.store.put(walk.environment.settings.bucket_sips, key, page.raw)
    with walk.environment.engine.begin() as connection:
        run = runs.find(connection, walk.run, lock=True)
        if run.state != RunState.LISTING:
            raise _Interrupted
        items, told = _judged(connection, walk, page.records, now)
        runs.add(connection, walk.run, batch.number, walk.profile.id, items)
        log.append_free(connection, told, actor=FUNCTION)
        runs.note_page(connection, walk.run, batch.number, number, page.total, reached=reached)
        runs.look_again(connection, walk.run, None, timedelta(minutes=15).total_seconds())
        events = move(connection, walk.run)
    walk.environment.emitter.emit(events)


def _judged(
    connection: Connection, walk: _Walk, records: Sequence[Listed], now: datetime
) -> tuple[list[NewItem], list[Event]]:
    source = walk.profile.id
    known = runs.seen(connection, source, [record.recid for record in records])
    listed = [Item(record.recid, record.revision, record.title, record.deleted) for record in records]
    items: list[NewItem] = []
    told: list[Event] = []
    for item, verdict in judge(listed, {recid: _known(seen) for recid, seen in known.items()}):
        archive = known.get(item.recid, Seen()).archive
        match verdict:
            case Verdict.HARVEST:
                items.append(NewItem(item.recid, item.revision, item.title, ItemState.QUEUED))
            case Verdict.UNCHANGED if archive is not None:
                items.append(NewItem(item.recid, item.revision, item.title, ItemState.UNCHANGED, archive))
                told.append(harvest_run_events.unchanged(walk.run, source, item, archive, now))
            case Verdict.DELETED:
                items.append(NewItem(item.recid, item.revision, item.title, ItemState.DELETED, archive))
                if archive is not None:
                    told.append(harvest_run_events.deleted(walk.run, source, item, archive, now))
            case _:
                continue
    return items, told


def _known(seen: Seen) -> Known:
    return Known(tuple(each for each in (seen.revision, seen.listed) if each), seen.in_work)


def _finished(walk: _Walk, batch: Batch, pages: int, total: int | None) -> None:
    """The batch is listed to its end: the cursor moves as far as all before it is; the last one ends the listing."""
    with walk.environment.engine.begin() as connection:
        run = runs.find(connection, walk.run, lock=True)
        pending = runs.pending(connection, walk.run)
        window = next((_window(each) for each in pending if each.number == batch.number), _window(batch))
        cursor = Cursor(run.done_until, tuple(_window(each) for each in pending), run.target)
        runs.note_page(connection, walk.run, batch.number, pages, total, listed=True)
        schedules.reached(connection, run.schedule_id, finish(cursor, window).done_until)
        if run.state != RunState.LISTING:
            raise _Interrupted
        if len(pending) <= 1:
            runs.put_state(connection, walk.run, RunState.RUNNING, expected=[RunState.LISTING], listed=True)
        events = move(connection, walk.run)
    walk.environment.emitter.emit(events)


def _window(batch: Batch) -> Window:
    return Window(batch.starts, batch.ends, (batch.first_id, batch.last_id))


def _batch(window: Window) -> Batch:
    return Batch(0, window.start, window.end, *window.ids)
