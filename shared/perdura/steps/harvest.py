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

from perdura.clients.http import HttpClient
from perdura.errors import Broken, NotStored, Rejected, Retryable, UpstreamUnavailable
from perdura.sources import protocols
from perdura.sources.catalogue import Recognised, by_id, recognise
from perdura.sources.plan import Plan, from_json, to_json
from perdura.sources.transfer import Fetched, FileRefused, OutOfTime, fetch
from perdura.steps import harvest_events, harvest_sip
from perdura.steps.harvest_units import Unit, read_receipt, receipt, units
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
    with protocols.client_for(record, ports.settings, token=_token(archive, ports)) as client:
        stored = _planned(archive, ports, record, client)
        plan = stored.plan
        if plan.closed is not None and not archive.step.input.get("metadata_only"):
            return _closed(archive, ports, plan)
        try:
            fetched, refusals = _transferred(archive, ports, stored, client)
            if refusals or ports.clock.now() - plan.captures[0].at > STALE:
                _check_unchanged(plan, record, client)
        except RecordChanged:
            return _again(archive)
        except OutOfTime:
            return Outcome(state=StepState.QUEUED, checkpoint={**archive.step.checkpoint, "continued": True})
        if refusals:
            return _failed(archive, ports, plan, refusals)
    return _assembled(archive, ports, stored, fetched)


def _record(archive: ArchiveView, ports: Ports) -> Recognised:
    given = archive.step.input
    url, source, recid = given.get("url"), given.get("source"), given.get("recid")
    if isinstance(url, str) and url:
        return recognise(url, ports.settings)
    if isinstance(source, str) and isinstance(recid, str):
        return by_id(source, recid, ports.settings, base_url=given.get("base_url"))
    raise Rejected("A harvest needs a url, or a source and a recid.", code="incomplete-request")


def _token(archive: ArchiveView, ports: Ports) -> str | None:
    """The credential for this source, when the runtime supplies one (`extras["credential"]`: source -> token)."""
    lookup = (ports.extras or {}).get("credential")
    return lookup(archive) if callable(lookup) else None


# ------------------------------------------------------------------------------------------------- phase 1: plan


def _plan_key(archive: ArchiveView) -> str:
    return f"{archive.id}/plan.json"


def _planned(archive: ArchiveView, ports: Ports, record: Recognised, client: HttpClient) -> Stored:
    """The stored plan of this attempt, or a new one. A new plan that leads to other files begins a new generation."""
    before = _read_plan(archive, ports)
    replans = int(archive.step.checkpoint.get("replans", 0))
    attempt = archive.step.attempt * (REPLANS + 1) + replans
    # A plan of closed files is only good for one look: the embargo may be over at the next.
    if before is not None and before.attempt == attempt and before.plan.closed is None:
        return before
    ports.progress("plan", 0, None)
    plan = protocols.plan(record, client)
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


def _check_unchanged(plan: Plan, record: Recognised, client: HttpClient) -> None:
    ask = protocols.REVISIONS.get(record.profile.protocol)
    if ask is not None and plan.revision is not None and ask(record, client) != plan.revision:
        raise RecordChanged


def _again(archive: ArchiveView) -> Outcome:
    replans = int(archive.step.checkpoint.get("replans", 0)) + 1
    if replans > REPLANS:
        raise UpstreamUnavailable("The record keeps changing while it is harvested.", retry_after=3600)
    return Outcome(state=StepState.QUEUED, checkpoint={"replans": replans})


# ------------------------------------------------------------------------------------------- phase 2: transfers


def _transferred(
    archive: ArchiveView, ports: Ports, stored: Stored, client: HttpClient
) -> tuple[list[Fetched], list[FileRefused]]:
    """Fetch every unit that has no receipt yet. A refused file does not stop the others: the report names all."""
    transfers = _Transfers(archive, ports, stored, client)
    done = transfers.receipts()
    missing = [unit for unit in units(stored.plan.files) if unit.number not in done]
    total = len(stored.plan.files)
    count = sum(len(results) for results in done.values())
    ports.progress("files", count, total)
    refusals: list[FileRefused] = []
    retryable: Retryable | None = None
    out_of_time = False
    waiting = iter(missing)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="harvest") as pool:
        running: dict[Future[tuple[list[Fetched], list[FileRefused]]], Unit] = {}

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
                    results, refused = future.result()
                except Retryable as error:
                    retryable = retryable or error
                except OutOfTime:
                    out_of_time = True
                else:
                    done[unit.number] = results
                    refusals += refused
                    count += len(results)
                    ports.progress("files", count, total)
                start()
    if retryable is not None:
        raise retryable
    if out_of_time:
        raise OutOfTime
    return [item for number in sorted(done) for item in done[number]], refusals


class _Transfers:
    """What the threads of one harvest share; each unit is independent of the others."""

    def __init__(self, archive: ArchiveView, ports: Ports, stored: Stored, client: HttpClient) -> None:
        self._ports = ports
        self._client = client
        self._bucket = ports.settings.bucket_sips
        self._prefix = f"{archive.id}/{stored.folder}/"
        self._receipts = f"{archive.id}/receipts/{stored.generation}/"

    def receipts(self) -> dict[int, list[Fetched]]:
        """Results of the units that are done, by number."""
        found = {}
        for item in self._ports.store.list(self._bucket, self._receipts):
            number = int(item.ref.key.removeprefix(self._receipts).removesuffix(".json"))
            found[number] = read_receipt(self._ports.store.read(item.ref))
        return found

    def unit(self, unit: Unit) -> tuple[list[Fetched], list[FileRefused]]:
        """Fetch the files of a unit; its receipt is written only when none was refused."""
        results: list[Fetched] = []
        refusals: list[FileRefused] = []
        for file in unit.files:
            if self._ports.deadline.near():
                raise OutOfTime
            try:
                results.append(
                    fetch(
                        file,
                        self._client,
                        self._ports.store,
                        self._bucket,
                        self._prefix + file.path,
                        out_of_time=self._ports.deadline.near,
                    )
                )
            except FileRefused as refused:
                refusals.append(refused)
            except Rejected as error:
                refusals.append(FileRefused(error.message, code=error.code, path=file.path, found=error.message))
        if not refusals:
            key = f"{self._receipts}{unit.number:06d}.json"
            self._ports.store.put(self._bucket, key, receipt(results), content_type="application/json")
        return results, refusals


# ---------------------------------------------------------------------------------------------- phase 3: the SIP


def _assembled(archive: ArchiveView, ports: Ports, stored: Stored, fetched: Sequence[Fetched]) -> Outcome:
    plan = stored.plan
    at = plan.captures[0].at
    bucket, prefix = ports.settings.bucket_sips, f"{archive.id}/{stored.folder}/"
    metadata = harvest_sip.metadata_files(plan, fetched, at, to_json(plan))
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
    findings = _warnings(plan)
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


def _warnings(plan: Plan) -> tuple[Finding, ...]:
    found = [Finding("file-renamed", f"{f.key!r}: {f.renamed}", "warning", f.path) for f in plan.files if f.renamed]
    found += [Finding("not-harvested", f"{s.key}: {s.reason}", "warning") for s in plan.skipped]
    found += [Finding("upstream-irregular", text, "warning") for text in plan.warnings]
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
