"""Runs the preserve step against fakes as the runtime does: claims, polls, retries, and workers that die."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from perdura.clients.archivematica.connect import ConnectedArchivematica
from perdura.clients.archivematica.instances import Instance
from perdura.errors import Broken, PerduraError, Rejected, Retryable
from perdura.fleet import IN_FLIGHT, Archivematica, Fleet, Probe, Submission, Terms
from perdura.fleet_places import Room, Waiting, place
from perdura.ids import derived_id
from perdura.outcome import ArchiveView, Outcome, Package, PackageKind, StepState, StepView
from perdura.ports import Deadline, Ports
from perdura.premis.model import Event
from perdura.registry.archivematica import SubmissionBook
from perdura.settings import Settings
from perdura.steps import preserve_archivematica
from perdura.steps.preserve_archivematica_left import look_after
from perdura.steps.preserve_archivematica_told import patience_of
from perdura.storage.memory import MemoryStore

from .clock import SteppedClock
from .server import FakeArchivematica

FINAL = frozenset(StepState) - {StepState.QUEUED, StepState.RUNNING, StepState.WAITING}


def instance(fake: FakeArchivematica, name: str = "one", **more: object) -> ConnectedArchivematica:
    """A connected client of a fake."""
    values = {
        "name": name,
        "dashboard_url": "http://dashboard",
        "dashboard_user": "perdura",
        "dashboard_key": SecretStr("key"),
        "storage_url": "http://storage-service",
        "storage_user": "perdura",
        "storage_key": SecretStr("key"),
        "source_location": fake.pipeline.location,
        "source_bucket": fake.pipeline.source[0],
        "source_prefix": fake.pipeline.source[1],
        "aip_bucket": fake.pipeline.aips[0],
        **more,
    }
    return ConnectedArchivematica(Instance.model_validate(values), transport=fake.transport)


class MemoryBook:
    """The book of submissions in memory, with the rules of the registry's: places go by the same function."""

    def __init__(self, clock: SteppedClock, limit: int = 5, pause: float = 900) -> None:
        self.rows: dict[UUID, Submission] = {}
        self.failures: dict[str, int] = {}
        self.alike: dict[str, tuple[str, int]] = {}
        self.paused_until: dict[str, datetime] = {}
        self.modes: dict[str, str] = {}
        self.reachable: dict[str, bool] = {}
        self.over: set[UUID] = set()
        """Steps that nobody follows any more."""
        self._clock, self._limit, self._pause = clock, limit, pause

    def queue(self, archive: UUID, step: UUID, size: int, wanted: str | None) -> Submission:
        before = sum(row.archive == archive for row in self.rows.values())
        name = f"{archive}-{before + 1}" if before else str(archive)
        made = Submission(derived_id("archivematica", step), archive, step, name, size, wanted, self._clock.now())
        return self.rows.setdefault(made.id, made)

    def of_step(self, step: UUID) -> Submission | None:
        return self.rows.get(derived_id("archivematica", step))

    def earlier(self, archive: UUID, step: UUID) -> Sequence[Submission]:
        found = [row for row in self.rows.values() if row.archive == archive and row.step != step and row.sent_at]
        return sorted(found, key=lambda row: row.queued_at, reverse=True)

    def left(self, most: int) -> Sequence[Submission]:
        return [row for row in self.rows.values() if row.in_flight and row.step in self.over][:most]

    def reserve(self, submission: Submission, offers: Sequence[Terms]) -> Submission | str:
        rooms = [room for terms in offers if (room := self._room(terms)) is not None]
        mine = _waiting(submission)
        chosen = place(mine, rooms, self._before(submission, rooms)) if place(mine, rooms) else None
        if chosen is None:
            return "every Archivematica has as much to do as it may have"
        (ahead,) = [room for room in rooms if room.terms == chosen.terms]
        kept = replace(
            submission, state="reserved", instance=ahead.terms.name, ahead=ahead.packages, ahead_bytes=ahead.bytes
        )
        self.rows[kept.id] = kept
        return kept

    def _room(self, terms: Terms) -> Room | None:
        """An instance that takes work; none for one that does not."""
        mine = [row for row in self.rows.values() if row.instance == terms.name and row.state in IN_FLIGHT]
        paused = self.paused_until.get(terms.name)
        if self.modes.get(terms.name, "active") != "active" or not self.reachable.get(terms.name, True):
            return None
        if paused is not None and (paused > self._clock.now() or mine):
            return None
        places = 1 if paused else terms.packages
        return Room(terms, len(mine), sum(row.size for row in mine), places, self.failures.get(terms.name, 0))

    def _before(self, submission: Submission, rooms: Sequence[Room]) -> list[Waiting]:
        order = sorted(
            (row for row in self.rows.values() if row.state == "queued" and row.step not in self.over),
            key=lambda row: (row.queued_at, row.id),
        )
        mine = submission.queued_at, submission.id
        before = (_waiting(row, self._clock) for row in order if (row.queued_at, row.id) < mine)
        return [each for each in before if any(each.may_go(room.terms) for room in rooms)]

    def note(self, submission: Submission) -> None:
        self.rows[submission.id] = submission

    def sending(self, submission: Submission) -> bool:
        if self.rows[submission.id].state != "reserved" or submission.step in self.over:
            return False
        self.note(submission)
        return True

    def met(self, instance: str, failure: str | None) -> None:
        self.failures[instance] = 0 if failure is None else self.failures.get(instance, 0) + 1
        if failure is None and self.alike.get(instance, ("", 0))[1] < self._limit:
            self.paused_until.pop(instance, None)
        elif self.failures[instance] >= self._limit:
            self._paused(instance)

    def ended(self, instance: str, kind: str | None, message: str = "") -> None:
        del message
        before, count = self.alike.pop(instance, ("", 0))
        if kind is None:
            self.met(instance, None)
            return
        self.alike[instance] = (kind, count + 1 if kind == before else 1)
        if self.alike[instance][1] >= self._limit:
            self._paused(instance)

    def _paused(self, instance: str) -> None:
        self.paused_until[instance] = self._clock.now() + timedelta(seconds=self._pause)

    def seen(self, instance: str, probe: Probe | None, reason: str = "") -> None:
        del reason
        self.reachable[instance] = probe is not None


def _waiting(row: Submission, clock: SteppedClock | None = None) -> Waiting:
    waited = (clock.now() - row.queued_at).total_seconds() if clock else 0.0
    return Waiting(row.size, row.wanted, row.refused, waited)


@dataclass
class Case:
    """One Archive on its way."""

    view: ArchiveView
    state: StepState = StepState.QUEUED
    outcome: Outcome | None = None
    due: datetime | None = None
    attempts: int = 0
    died: int = 0


class Died(BaseException):
    """The worker is killed."""


@dataclass
class Driver:
    """All cases of a run; `deaths` is the share of calls to the book after which the worker dies."""

    store: MemoryStore
    clock: SteppedClock
    instances: Mapping[str, Archivematica]
    settings: Settings = field(default_factory=lambda: Settings(archivematica_patience_seconds=600))
    deaths: float = 0.0
    deadline: Callable[[], Deadline] = field(default_factory=lambda: NoDeadline)
    """Makes the time budget of one invocation."""
    seed: int = 1
    cases: dict[UUID, Case] = field(default_factory=dict)
    events: dict[UUID, Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._probed = self.clock.now()
        self.use(MemoryBook(self.clock))

    def use(self, book: MemoryBook | SubmissionBook) -> None:
        """Keep that book, in which the worker may die after every entry."""
        self.book: Any = book
        self.fleet = Fleet(self.instances, _Mortal(book, self._die))

    def _die(self) -> None:
        if self._random.random() < self.deaths:
            raise Died

    def add(
        self,
        number: int,
        files: Mapping[str, bytes] | None = None,
        *,
        archive: UUID | None = None,
        step: UUID | None = None,
        **step_input: object,
    ) -> Case:
        """A deposit that waits for its AIP; a book in a database knows Archive and step already."""
        archive, step = archive or derived_id("case", number), step or derived_id("case step", number)
        data = zipped_bag(files or {"a.txt": f"file {number}".encode(), "b/ü c.txt": b"same"})
        info = self.store.put("perdura-sips", f"{archive}/sip.zip", data).info
        sip = Package(derived_id("sip", number), PackageKind.SIP, "perdura-sips", info.ref.key, "zip", len(data))
        sip = replace(sip, etag=info.ref.etag, version_id=info.ref.version_id)
        view = ArchiveView(
            archive,
            StepView(step, "preserve", 1, input=step_input, created_at=self.clock.now()),
            packages=(sip,),
            created_at=self.clock.now(),
        )
        case = self.cases[archive] = Case(view)
        return case

    def ports(self, view: ArchiveView) -> Ports:
        return Ports(
            settings=self.settings,
            store=self.store,
            clock=self.clock,
            deadline=self.deadline(),
            intents=None,  # type: ignore[arg-type]
            progress=lambda *_: None,
            derived=lambda name: derived_id(view.step.id, view.step.attempt, name),
            fleet=self.fleet,
            record=self._record,
        )

    def _record(self, events: Sequence[Event]) -> None:
        for event in events:
            self.events.setdefault(event.id, event)

    def run(self, seconds: float, tick: float = 2.0, between: Callable[[], None] = lambda: None) -> None:
        """Let the time pass, with a tick every so often."""
        end = self.clock.time.timestamp() + seconds
        while self.clock.time.timestamp() < end and any(case.state not in FINAL for case in self.cases.values()):
            self.tick()
            between()
            self.clock.step(tick)

    def tick(self, limit: int = 100) -> None:
        """One tick: steps that were asked for are run, those that wait and are due are polled in bulk."""
        if (self.clock.now() - self._probed).total_seconds() >= 30:
            self._probed = self.clock.now()
            fleet = Fleet(self.instances, self.book)
            preserve_archivematica.probe(fleet)
            look_after(fleet, patience_of(self.settings), self.clock.now())
        for case in [case for case in self.cases.values() if case.state is StepState.QUEUED and self._is_due(case)]:
            self._deliver(case)
        waiting = [case for case in self.cases.values() if case.state is StepState.WAITING and self._is_due(case)]
        waiting = sorted(waiting, key=lambda case: case.due or self.clock.now())[:limit]
        if not waiting:
            return
        try:
            polled = preserve_archivematica.poll([case.view for case in waiting], self.ports(waiting[0].view))
        except Died:
            return
        for view, outcome in polled:
            self._close(self.cases[view.id], outcome)

    def _is_due(self, case: Case) -> bool:
        return case.due is None or case.due <= self.clock.now()

    def _deliver(self, case: Case) -> None:
        from datetime import timedelta

        step = case.view.step.id
        try:
            outcome = preserve_archivematica.run(case.view, self.ports(case.view))
            if case.view.step.id == step and case.state is not StepState.CANCELLED:
                self._close(case, outcome)
        except Died:
            case.died += 1
        except Retryable as error:
            case.attempts += 1
            case.due = self.clock.now() + timedelta(seconds=error.retry_after or 10)
            if case.attempts >= 20:
                self._close(case, _ended(StepState.BLOCKED, error))
        except Rejected as error:
            self._close(case, _ended(StepState.FAILED, error))
        except Broken as error:
            self._close(case, _ended(StepState.BLOCKED, error))

    def _close(self, case: Case, outcome: Outcome) -> None:
        case.outcome, case.state, case.due = outcome, outcome.state, outcome.poll_at
        self._record(outcome.told_events)
        if outcome.checkpoint is not None:
            step = replace(case.view.step, checkpoint=outcome.checkpoint)
            case.view = replace(case.view, step=step)

    def retry(self, case: Case) -> None:
        """A person tries again."""
        step = case.view.step
        self.book.over.add(step.id)
        again = replace(step, id=derived_id(step.id, "again"), attempt=step.attempt + 1, checkpoint={})
        case.view = replace(case.view, step=again)
        case.state, case.due, case.outcome = StepState.QUEUED, None, None

    def cancel(self, case: Case) -> None:
        """A person cancels the step."""
        self.book.over.add(case.view.step.id)
        case.state, case.due = StepState.CANCELLED, None

    def preserve_again(self, case: Case, **step_input: object) -> None:
        """A person asks for a new version of what was preserved."""
        assert case.outcome is not None
        step = case.view.step
        again = replace(step, id=derived_id(step.id, "new version"), attempt=1, checkpoint={}, input=step_input)
        case.view = replace(case.view, step=again, packages=(*case.view.packages, *case.outcome.packages))
        case.state, case.due, case.outcome = StepState.QUEUED, None, None


class NoDeadline:
    def near(self) -> bool:
        return False


class _Mortal:
    """A book whose worker may die right after anything was written into it."""

    def __init__(self, book: MemoryBook | SubmissionBook, die: Callable[[], None]) -> None:
        self._book, self._die = book, die

    def __getattr__(self, name: str) -> object:
        method = getattr(self._book, name)

        def call(*arguments: object) -> object:
            result = method(*arguments)
            self._die()
            return result

        return call


def _ended(state: StepState, error: PerduraError) -> Outcome:
    return Outcome(state, error_code=error.code, message=error.message)


def zipped_bag(files: Mapping[str, bytes]) -> bytes:
    """A BagIt bag as a zip archive."""
    members = {f"data/{path}": body for path, body in files.items()}
    manifest = "".join(f"{hashlib.sha256(body).hexdigest()}  {path}\n" for path, body in members.items())
    members |= {
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "manifest-sha256.txt": manifest.encode(),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, body in members.items():
            archive.writestr(f"bag/{path}", body)
    return out.getvalue()
