"""Harvest: from a record in a repository to a SIP in the store (architecture §3; harvesting.md 6).

First the plan is written, then its files are transferred in units, each with a receipt, then the SIP is assembled
around them. Everything that was reached is in the store, so any worker can go on where another stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from perdura.clients.http import Budget
from perdura.errors import Broken, NotStored, Rejected, Retryable, UpstreamUnavailable
from perdura.sources.catalogue import Recognised, by_id, recognise
from perdura.sources.origin import Origin
from perdura.sources.plan import Moved, Plan, PlannedFile, Preparing, from_json, to_json
from perdura.sources.protocols import Upstream, connected
from perdura.sources.resolve import MOVES
from perdura.sources.transfer import Fetched, FileRefused, OutOfTime, fetch
from perdura.steps import harvest_events, harvest_sip
from perdura.steps.harvest_units import Receipt, Unit, read_receipt, units
from perdura.steps.outcome import (
    ArchiveChange,
    ArchiveView,
    Fact,
    File,
    Finding,
    Outcome,
    Package,
    PackageKind,
    StepState,
)
from perdura.steps.ports import Ports
from perdura.storage.store import ObjectRef

THREADS = 4
"""Files that are fetched at the same time."""

REPLANS = 3
"""Times a harvest begins anew because its record changed meanwhile."""

STALE = timedelta(seconds=60)
"""Age of a plan after which the record is asked again whether it is still the same."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A plan in the store. `generation` counts the plans of an Archive that differ: each fills a prefix of its own,
    so that no file of an older one is ever left in a SIP."""

    plan: Plan
    attempt: int
    generation: int

    @property
    def fingerprint(self) -> str:
        """Same for plans that lead to the same files."""
        content = [(f.key, f.url, f.path, f.size, sorted(f.checksums.items())) for f in self.plan.files]
        text = json.dumps([self.plan.source, self.plan.recid, self.plan.revision, content])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def folder(self) -> str:
        """Name of the SIP's prefix below the Archive's."""
        return "sip" if self.generation == 1 else f"sip-{self.generation}"


class RecordChanged(Exception):
    """The upstream's record is no longer the one that was planned."""


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Harvest `input.url`, or `input.source` and `input.recid`.

    Raises UnknownSource, UpstreamRefused (`upstream-not-found`, `upstream-deleted`, …), UpstreamUnavailable (with
    `retry_after`). Returns QUEUED when time runs out, WAITING for the end of an embargo, BLOCKED for closed files,
    FAILED with every refused file, or COMPLETED with the SIP.
    """
    record = _record(archive, ports)
    for _ in range(MOVES + 1):
        token = _token(archive, ports, record)
        with connected(record, ports.settings, store=ports.store, token=token, budget=_budget(ports)) as upstream:
            try:
                return _harvested(archive, ports, upstream)
            except Moved as moved:
                record = recognise(moved.url, ports.settings)
    raise Rejected("The record says too often that it lives elsewhere.", code="upstream-redirect")


def _harvested(archive: ArchiveView, ports: Ports, upstream: Upstream) -> Outcome:
    try:
        stored = _planned(archive, ports, upstream)
        plan = stored.plan
        if plan.closed is not None and not archive.step.input.get("metadata_only"):
            return _closed(archive, ports, plan)
        receipt, refusals = _transferred(archive, ports, stored, upstream.origin)
        if refusals or ports.clock.now() - plan.captures[0].at > STALE:
            _check_unchanged(plan, upstream)
    except Preparing as preparing:
        poll_at = ports.clock.now() + timedelta(seconds=preparing.seconds)
        return Outcome(
            state=StepState.WAITING, poll_at=poll_at, checkpoint=archive.step.checkpoint, message=f"{preparing.what}."
        )
    except RecordChanged:
        return _again(archive)
    except OutOfTime:
        return Outcome(state=StepState.QUEUED, checkpoint={**archive.step.checkpoint, "continued": True})
    if refusals:
        return _failed(archive, ports, plan, refusals)
    return _assembled(archive, ports, stored, receipt)


def _record(archive: ArchiveView, ports: Ports) -> Recognised:
    given = archive.step.input
    url, source, recid = given.get("url"), given.get("source"), given.get("recid")
    if isinstance(url, str) and url:
        return recognise(url, ports.settings)
    if isinstance(source, str) and isinstance(recid, str):
        return by_id(source, recid, ports.settings, base_url=given.get("base_url"))
    raise Rejected("A harvest needs a url, or a source and a recid.", code="incomplete-request")


def _token(archive: ArchiveView, ports: Ports, record: Recognised) -> str | None:
    """The credential for this source, when the runtime supplies them: `extras["credential"](archive, source)`."""
    lookup = (ports.extras or {}).get("credential")
    return lookup(archive, record.source) if callable(lookup) else None


def _budget(ports: Ports) -> Budget | None:
    """The rate budget that all workers share, when the runtime supplies one as `extras["rate_budget"]`."""
    return (ports.extras or {}).get("rate_budget")


# ------------------------------------------------------------------------------------------------- phase 1: plan


def _plan_key(archive: ArchiveView) -> str:
    return f"{archive.id}/plan.json"


def _planned(archive: ArchiveView, ports: Ports, upstream: Upstream) -> Stored:
    """The stored plan of this attempt, or a new one. A new plan that leads to other files begins a new generation."""
    before = _read_plan(archive, ports)
    replans = int(archive.step.checkpoint.get("replans", 0))
    attempt = archive.step.attempt * (REPLANS + 1) + replans
    # A plan of closed files is only good for one look: the embargo may be over at the next.
    if before is not None and before.attempt == attempt and before.plan.closed is None:
        return before
    ports.progress("plan", 0, None)
    plan = upstream.plan()
    stored = Stored(plan, attempt, before.generation if before else 1)
    if before is not None and before.fingerprint != stored.fingerprint:
        stored = Stored(plan, attempt, before.generation + 1)
    wrapped = {"attempt": attempt, "generation": stored.generation, "plan": json.loads(to_json(plan))}
    data = json.dumps(wrapped, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ports.store.put(ports.settings.bucket_sips, _plan_key(archive), data, content_type="application/json")
    return stored


def _read_plan(archive: ArchiveView, ports: Ports) -> Stored | None:
    try:
        data = ports.store.read(ObjectRef(ports.settings.bucket_sips, _plan_key(archive)))
    except NotStored:
        return None
    try:
        wrapped = json.loads(data)
        plan = from_json(json.dumps(wrapped["plan"]).encode())
        return Stored(plan, int(wrapped["attempt"]), int(wrapped["generation"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Broken("The stored plan of this harvest cannot be read.") from error


def _check_unchanged(plan: Plan, upstream: Upstream) -> None:
    if upstream.revision is not None and plan.revision is not None and upstream.revision() != plan.revision:
        raise RecordChanged


def _again(archive: ArchiveView) -> Outcome:
    replans = int(archive.step.checkpoint.get("replans", 0)) + 1
    if replans > REPLANS:
        raise UpstreamUnavailable("The record keeps changing while it is harvested.", retry_after=3600)
    return Outcome(state=StepState.QUEUED, checkpoint={"replans": replans})


# ------------------------------------------------------------------------------------------- phase 2: transfers


def _transferred(
    archive: ArchiveView, ports: Ports, stored: Stored, origin: Origin
) -> tuple[Receipt, list[FileRefused]]:
    """Fetch every unit that has no receipt yet. A refused file does not stop the others: the report names all."""
    transfers = _Transfers(archive, ports, stored, origin)
    done = transfers.receipts()
    missing = [unit for unit in units(stored.plan.files) if unit.number not in done]
    total = len(stored.plan.files)
    count = sum(len(receipt.fetched) for receipt in done.values())
    ports.progress("files", count, total)
    refusals: list[FileRefused] = []
    retryable: Retryable | None = None
    out_of_time = False
    waiting = iter(missing)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="harvest") as pool:
        running: dict[Future[tuple[Receipt, list[FileRefused]]], Unit] = {}

        def start() -> None:
            unit = next(waiting, None) if retryable is None and not out_of_time else None
            if unit is not None:
                running[pool.submit(transfers.unit, unit)] = unit

        for _ in range(THREADS):
            start()
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                unit = running.pop(future)
                try:
                    receipt, refused = future.result()
                except Retryable as error:
                    retryable = retryable or error
                except OutOfTime:
                    out_of_time = True
                else:
                    done[unit.number] = receipt
                    refusals += refused
                    count += len(receipt.fetched)
                    ports.progress("files", count, total)
                start()
    if retryable is not None:
        raise retryable
    if out_of_time:
        raise OutOfTime
    receipts = [done[number] for number in sorted(done)]
    fetched = tuple(item for receipt in receipts for item in receipt.fetched)
    return Receipt(fetched, tuple(item for receipt in receipts for item in receipt.missing)), refusals


class _Transfers:
    """What the threads of one harvest share; each unit is independent of the others."""

    def __init__(self, archive: ArchiveView, ports: Ports, stored: Stored, origin: Origin) -> None:
        self._ports = ports
        self._origin = origin
        self._bucket = ports.settings.bucket_sips
        self._prefix = f"{archive.id}/{stored.folder}/"
        self._receipts = f"{archive.id}/receipts/{stored.generation}/"

    def receipts(self) -> dict[int, Receipt]:
        """Results of the units that are done, by number."""
        found = {}
        for item in self._ports.store.list(self._bucket, self._receipts):
            number = int(item.ref.key.removeprefix(self._receipts).removesuffix(".json"))
            found[number] = read_receipt(self._ports.store.read(item.ref))
        return found

    def unit(self, unit: Unit) -> tuple[Receipt, list[FileRefused]]:
        """Fetch the files of a unit; its receipt is written only when none was refused."""
        fetched: list[Fetched] = []
        missing: list[tuple[str, str]] = []
        refusals: list[FileRefused] = []
        for file in unit.files:
            if self._ports.deadline.near():
                raise OutOfTime
            try:
                fetched.append(self._fetch(file))
            except (Rejected, UpstreamUnavailable) as error:
                if file.optional and getattr(error, "retry_after", None) is None:
                    missing.append((file.path, error.message))
                elif isinstance(error, FileRefused):
                    refusals.append(error)
                elif isinstance(error, Rejected):
                    refusals.append(FileRefused(error.message, code=error.code, path=file.path, found=error.message))
                else:
                    raise
        receipt = Receipt(tuple(fetched), tuple(missing))
        if not refusals:
            key = f"{self._receipts}{unit.number:06d}.json"
            self._ports.store.put(self._bucket, key, receipt.to_json(), content_type="application/json")
        return receipt, refusals

    def _fetch(self, file: PlannedFile) -> Fetched:
        key = self._prefix + file.path
        near = self._ports.deadline.near
        return fetch(file, self._origin, self._ports.store, self._bucket, key, out_of_time=near)


# ---------------------------------------------------------------------------------------------- phase 3: the SIP


def _assembled(archive: ArchiveView, ports: Ports, stored: Stored, receipt: Receipt) -> Outcome:
    plan, fetched = stored.plan, receipt.fetched
    at = plan.captures[0].at
    bucket, prefix = ports.settings.bucket_sips, f"{archive.id}/{stored.folder}/"
    metadata = harvest_sip.metadata_files(plan, fetched, at, to_json(plan, public=True))
    tags = harvest_sip.bag_files(plan, fetched, metadata, at, ports.settings.organisation)
    *before, declaration = [*metadata, *tags]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="harvest") as pool:
        list(pool.map(lambda file: ports.store.put(bucket, prefix + file.path, file.data), before))
    # bagit.txt makes the prefix a bag: it comes when everything else is there.
    ports.store.put(bucket, prefix + declaration.path, declaration.data)
    package = Package(
        id=ports.derived("sip"),
        kind=PackageKind.SIP,
        bucket=bucket,
        key=prefix,
        container="prefix",
        size=sum(item.size for item in fetched) + sum(len(file.data) for file in (*metadata, *tags)),
    )
    media = {file.path: file.media_type for file in plan.files}
    files = [File(i.path, i.size, i.checksums, media_type=media.get(i.path)) for i in fetched]
    files += [File(file.path, len(file.data), file.checksums) for file in metadata]
    findings = _warnings(plan, receipt)
    return Outcome(
        state=StepState.COMPLETED_WITH_WARNINGS if findings else StepState.COMPLETED,
        output={"source": plan.source, "recid": plan.recid, "files": len(fetched), "bytes": package.size},
        packages=(package,),
        files=((package.id, tuple(files)),),
        events=tuple(harvest_events.transferred(archive, ports, plan, fetched, str(package.id))),
        facts=(
            Fact(
                "org.perdura.sip.created.v1",
                {
                    "archive": archive.id,
                    "package": {
                        "id": package.id,
                        "kind": package.kind,
                        "bucket": bucket,
                        "key": prefix,
                        "size": package.size,
                    },
                    "source": plan.source,
                    "recid": plan.recid,
                },
            ),
        ),
        findings=findings,
        archive=ArchiveChange(
            title=plan.title,
            metadata=_described(plan),
            restricted=plan.restricted,
            source=plan.source,
            recid=plan.recid,
        ),
    )


def _described(plan: Plan) -> Mapping[str, Any]:
    return {**plan.metadata, "url": plan.url, "parent": plan.parent, "revision": plan.revision}


def _warnings(plan: Plan, receipt: Receipt) -> tuple[Finding, ...]:
    found = [Finding("file-renamed", f"{f.key!r}: {f.renamed}", "warning", f.path) for f in plan.files if f.renamed]
    found += [Finding("not-harvested", f"{s.key}: {s.reason}", "warning") for s in plan.skipped]
    found += [Finding("upstream-irregular", text, "warning") for text in plan.warnings]
    found += [Finding("file-missing", reason, "warning", path) for path, reason in receipt.missing]
    if plan.closed is not None:
        found.append(
            Finding("metadata-only", f"The files are {plan.closed.status}; metadata alone was kept.", "warning")
        )
    return tuple(found)


# ------------------------------------------------------------------------------------------------ other endings


def _closed(archive: ArchiveView, ports: Ports, plan: Plan) -> Outcome:
    """Closed files are a state, not an error: wait for the end of an embargo, else let a person decide."""
    assert plan.closed is not None
    event = harvest_events.closed(archive, ports, plan)
    change = ArchiveChange(title=plan.title, metadata=_described(plan), source=plan.source, recid=plan.recid)
    until = plan.closed.until
    if until is not None and until > ports.clock.now():
        return Outcome(
            state=StepState.WAITING,
            poll_at=until,
            checkpoint={"replans": 0, "embargo": until.isoformat()},
            events=(event,),
            archive=change,
            message=f"The files are under embargo until {until.date().isoformat()}.",
        )
    return Outcome(
        state=StepState.BLOCKED,
        error_code="upstream-closed",
        message=f"The files of this record are {plan.closed.status}: give a credential, or ask for metadata only.",
        events=(event,),
        archive=change,
    )


def _failed(archive: ArchiveView, ports: Ports, plan: Plan, refusals: Sequence[FileRefused]) -> Outcome:
    first = refusals[0]
    others = f" {len(refusals) - 1} more files were refused." if len(refusals) > 1 else ""
    return Outcome(
        state=StepState.FAILED,
        error_code=first.code,
        message=first.message + others,
        output={"refused": len(refusals), "files": len(plan.files)},
        findings=tuple(Finding(r.code, r.message, "error", r.path) for r in refusals[:1000]),
        events=(harvest_events.refused(archive, ports, plan, refusals),),
        archive=ArchiveChange(title=plan.title, source=plan.source, recid=plan.recid),
    )
