"""A tape system in memory, and the ports a step is given in tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from perdura.clients.fts_answers import FtsUnreached
from perdura.errors import NotStored, UpstreamUnavailable
from perdura.ids import NAMESPACE, derived_id
from perdura.outcome import ArchiveView, Package, PackageKind, StepView
from perdura.ports import (
    ContainerFile,
    Deadline,
    OpenJob,
    Ports,
    Residency,
    Staging,
    TapeAccount,
    TapeCredentials,
    TapeJob,
    TapeOrder,
    TapeRequest,
    TapeRetry,
    Wish,
)
from perdura.settings import Settings
from perdura.storage.memory import MemoryStore

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ARCHIVE = UUID("00000000-0000-7000-8000-000000000001")
AIP = UUID("00000000-0000-7000-8000-00000000000a")
STEP = UUID("00000000-0000-7000-8000-0000000000f0")


@dataclass
class FakeTape:
    """Archives what `fetch` reads from a source URL; `tick` moves everything one step on its way."""

    fetch: Callable[[str], bytes] = lambda url: url.encode()
    requests: dict[str, TapeRequest] = field(default_factory=dict)
    states: dict[str, TapeJob] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    places: dict[str, Residency] = field(default_factory=dict)
    submissions: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    stages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    staged_before: list[str] = field(default_factory=list)
    priorities: dict[str, int] = field(default_factory=dict)
    failed: dict[str, list[TapeRetry]] = field(default_factory=dict)
    down: bool = False
    refuse: Exception | None = None
    server: str = "https://fts.example.org:8446"
    vo: str = "preservation"
    """The VO that FTS has us in: the ids of our jobs depend on it."""
    hidden: set[str] = field(default_factory=set)
    """Jobs of another VO, of which FTS says no more than that they are not ours."""
    lost: Exception | None = None
    """Raised after a submission: FTS has the job, or never got it (`FtsUnreached`), and we do not know."""
    counter: Iterator[int] = field(default_factory=itertools.count)

    def uri(self, destination_path: str) -> str:
        return f"davs://tape.example.org/perdura/{destination_path}"

    def submit(self, request: TapeRequest) -> str:
        self._answers()
        self.submissions.append(request.job_key)
        if self.refuse is not None:
            raise self.refuse
        job = self.job_id(request.job_key)
        if not isinstance(self.lost, FtsUnreached):
            self.requests.setdefault(job, request)
            self.states.setdefault(job, TapeJob(job, "active"))
        if self.lost is not None:
            raise self.lost
        return job

    def job_id(self, job_key: str) -> str:
        return str(uuid5(uuid5(NAMESPACE, self.vo), job_key))

    def tick(self) -> None:
        """Every active job's file reaches tape."""
        import zlib

        for job, request in self.requests.items():
            if self.states[job].state in ("active", "archiving"):
                data = self.fetch(request.source_url)
                self.files[request.destination_path] = data
                self.places[request.destination_path] = Residency(
                    request.destination_path, False, True, len(data), f"{zlib.adler32(data):08x}"
                )
                self.states[job] = TapeJob(job, "finished")

    def jobs(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> Mapping[str, TapeJob]:
        self._answers()
        foreign = {job: TapeJob(job, "withheld", "not your job") for job in self.hidden}
        return {job: foreign.get(job) or self.states.get(job) or TapeJob(job, "unknown") for job in job_ids}

    def retries(self, job: TapeJob) -> Sequence[TapeRetry]:
        self._answers()
        return self.failed.get(job.job_id, ())

    def account(self) -> TapeAccount:
        return TapeAccount(self.server, "/CN=robot")

    def residency(self, paths: Sequence[str], deadline: Deadline | None = None) -> Mapping[str, Residency]:
        self._answers()
        missing = "USER ERROR: file does not exist or is not accessible to you"
        return {path: self.places.get(path) or Residency(path, False, False, None, None, missing) for path in paths}

    def cancel(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> None:
        self._answers()
        for job in job_ids:
            if job in self.states and self.states[job].state in ("active", "archiving"):
                self.states[job] = TapeJob(job, "cancelled", "Job canceled by the user")

    def set_priority(self, job_ids: Sequence[str], priority: int) -> None:
        self._answers()
        self.priorities |= dict.fromkeys(job_ids, priority)

    def credentials(self) -> TapeCredentials:
        return TapeCredentials("token", None)

    def renew(self) -> TapeCredentials:
        self._answers()
        return TapeCredentials("token", None)

    def stage(self, paths: Sequence[str], lifetime: int) -> str:
        self._answers()
        request = f"stage-{next(self.counter)}"
        self.stages[request] = tuple(paths)
        self.staged_before.append(request)
        return request

    def staged(self, request: str) -> Mapping[str, Staging]:
        self._answers()
        if request not in self.stages:
            raise NotStored(f"no {request}")
        return {
            path: Staging(True) if path in self.files else Staging(False, "file does not exist")
            for path in self.stages[request]
        }

    def read(self, path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        data = self.files[path]
        part = data[offset:] if length is None else data[offset : offset + length]
        for start in range(0, len(part), 1000):
            yield part[start : start + 1000]

    def unstage(self, request: str, paths: Sequence[str]) -> None:
        self._answers()
        if self.stages.pop(request, None) is None:
            raise NotStored(f"no {request}")

    def release(self, request: str, paths: Sequence[str]) -> None:
        self._answers()
        self.released += paths

    def _answers(self) -> None:
        if self.down:
            raise UpstreamUnavailable("FTS did not answer", code="fts-unavailable")


@dataclass
class FakeTapeJobs:
    """A register of tape jobs in memory."""

    orders: dict[str, TapeOrder] = field(default_factory=dict)
    accepted_as: dict[str, str] = field(default_factory=dict)
    accounts: dict[str, TapeAccount] = field(default_factory=dict)
    asked_as: dict[str, str] = field(default_factory=dict)
    asked_ago: float = 600.0
    """Seconds since each of them was asked before."""
    states: dict[str, str] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    wished: dict[str, Wish] = field(default_factory=dict)
    pause: str | None = None
    slots: dict[UUID, ContainerFile] = field(default_factory=dict)
    failed: dict[str, list[TapeRetry]] = field(default_factory=dict)

    def paused(self) -> str | None:
        return self.pause

    def stop(self, reason: str) -> None:
        self.pause = f"paused by archive-cta: {reason}"

    def admit(self, order: TapeOrder, limit: int) -> OpenJob | None:
        if self.pause is not None or (order.key not in self.orders and limit and len(self.in_flight) >= limit):
            return None
        self.orders[order.key] = order
        self.over.discard(order.key)
        before = self.accounts.get(order.key)
        if before is None and order.account is not None:
            self.accounts[order.key] = order.account
        account = self.accounts.get(order.key)
        ago = self.asked_ago if order.key in self.asked_as else None
        asked_as = self.asked_as.setdefault(order.key, str(order.job_id)) if order.job_id else None
        job = self.accepted_as.get(order.key)
        return OpenJob(order.key, order.path, job, account, before is not None, asked_as, ago)

    def unasked(self, order: TapeOrder) -> None:
        if order.key not in self.accepted_as:
            self.accounts.pop(order.key, None)
            self.asked_as.pop(order.key, None)

    def asked_anew(self, order: TapeOrder) -> None:
        self.asked_as[order.key] = str(order.job_id)

    @property
    def in_flight(self) -> set[str]:
        return set(self.orders) - self.over

    def accepted(self, key: str, job_id: str, account: TapeAccount) -> None:
        self.accepted_as.setdefault(key, job_id)
        self.accounts[key] = account

    def wishes(self, keys: Sequence[str]) -> Mapping[str, Wish]:
        return {key: self.wished[key] for key in keys if key in self.wished}

    def granted(self, key: str) -> None:
        del self.wished[key]

    def seen(self, states: Mapping[str, TapeJob], over: Sequence[str]) -> None:
        self.states |= {key: job.state for key, job in states.items()}
        self.over |= set(over)

    def ended(self, keys: Sequence[str]) -> None:
        self.over |= set(keys)

    def tried(self, key: str, retries: Sequence[TapeRetry]) -> None:
        held = self.failed.setdefault(key, [])
        held += [each for each in retries if each not in held]

    def open_job(self, paths: Sequence[str]) -> OpenJob | None:
        for key in self.in_flight:
            if self.orders[key].path in paths:
                job = self.accepted_as.get(key)
                return OpenJob(key, self.orders[key].path, job, self.accounts.get(key), asked_as=self.asked_as.get(key))
        return None

    def slot(self, package: UUID) -> ContainerFile | None:
        return self.slots.get(package)


@dataclass
class FakeIntents:
    """Intents in memory."""

    declared: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    results: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def declare(self, key: str, intent: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.declared.setdefault(key, intent)

    def confirm(self, key: str, result: Mapping[str, Any]) -> None:
        self.results[key] = result

    def confirmed(self, key: str) -> Mapping[str, Any] | None:
        return self.results.get(key)


@dataclass
class FakeClock:
    """A clock that stands still until it is moved."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def forward(self, **delta: float) -> None:
        self.at += timedelta(**delta)


@dataclass
class Unhurried:
    """A time budget that is never near its end."""

    near_now: bool = False

    def near(self) -> bool:
        return self.near_now


class PresigningStore(MemoryStore):
    """A memory store that gives URLs for what it holds."""

    base = "http://store.example.org"

    def presigned_get(self, ref: Any, seconds: int, *, filename: str | None = None) -> str:
        return f"{self.base}/{ref.bucket}/{ref.key}?X-Amz-Expires={seconds}&X-Amz-Signature=secret"


def ports(tape: Any, store: Any, *, clock: FakeClock | None = None, extras: Any = None, **settings: Any) -> Ports:
    """Ports of one invocation with fakes."""
    return Ports(
        settings=Settings(**({"tape_poll_seconds": 30} | settings)),
        store=store,
        clock=clock or FakeClock(),
        deadline=Unhurried(),
        intents=FakeIntents(),
        progress=lambda what, done, total: None,
        derived=lambda name: derived_id(STEP, 1, name),
        tape=tape,
        tape_jobs=FakeTapeJobs(),
        extras=extras,
    )


def archive(package: Package | None, *, attempt: int = 1, name: str = "archive", **step: Any) -> ArchiveView:
    """An Archive whose step is to be run."""
    return ArchiveView(
        id=ARCHIVE,
        step=StepView(STEP, name, attempt, created_at=NOW, **step),
        packages=(package,) if package else (),
        created_at=NOW,
    )


def aip(store: MemoryStore, data: bytes, **changes: Any) -> Package:
    """Store an AIP and describe it."""
    import hashlib
    import zlib

    written = store.put("perdura-aips", f"{ARCHIVE}/{ARCHIVE}.tar", data)
    values: dict[str, Any] = {
        "id": AIP,
        "kind": PackageKind.AIP,
        "bucket": "perdura-aips",
        "key": f"{ARCHIVE}/{ARCHIVE}.tar",
        "container": "tar",
        "size": len(data),
        "version_id": written.info.ref.version_id,
        "etag": written.info.ref.etag,
        "checksums": {"adler32": f"{zlib.adler32(data):08x}", "sha256": hashlib.sha256(data).hexdigest()},
    }
    return Package(**(values | changes))
