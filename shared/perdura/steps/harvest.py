"""Harvest: from a record in a repository to a SIP in the store (architecture §3; harvesting.md 6).

First the plan is written, then its files are transferred in units, each with a receipt, then the SIP is assembled
around them. Everything that was reached is in the store, so any worker can go on where another stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

from perdura.clients.http import Budget, UpstreamRefused, redacted
from perdura.errors import Rejected, UpstreamUnavailable
from perdura.outcome import (
    ArchiveChange,
    ArchiveView,
    File,
    Finding,
    Outcome,
    Package,
    PackageKind,
    StepState,
)
from perdura.ports import Ports
from perdura.sources.catalogue import Recognised, by_id, recognise
from perdura.sources.gitlab_export import Drop, reachable
from perdura.sources.plan import Moved, Plan, Preparing, UpstreamDeleted, to_json
from perdura.sources.protocols import Upstream, connected
from perdura.sources.resolve import MOVES
from perdura.sources.tombstone import tombstone
from perdura.sources.transfer import FileRefused, OutOfTime
from perdura.steps import harvest_bic, harvest_events, harvest_light, harvest_sip
from perdura.steps.harvest_plan import REPLANS, RecordChanged, Stored, check_unchanged, planned
from perdura.steps.harvest_transfer import THREADS, transferred
from perdura.steps.harvest_units import Receipt
from perdura.storage.digests import HEX_LENGTHS

STALE = timedelta(seconds=60)
"""Age of a plan after which the record is asked again whether it is still the same."""

CLOSED = "upstream-closed"
"""Code of what may not be read: a state of the record that a person or time can change, not an error."""

LIFTING = timedelta(days=7)
"""How long after the end of an embargo its files may still be closed: repositories lift it with a job of the night."""

LIFTING_POLL = timedelta(hours=6)
"""How often it is looked meanwhile."""

IDLE = 2
"""Invocations in a row that may end without anything new being kept."""


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Harvest `input.url`, or `input.source` and `input.recid`.

    Further input: `light` (a bag with `fetch.txt` instead of files), `warc` (keep the landing page), `metadata_only`
    (do without closed files), `known` (fingerprint of an earlier harvest: the same content again is no new SIP),
    `engine` (`bagit-create` instead of our own).

    Raises UnknownSource, UpstreamRefused (`upstream-not-found`, `upstream-deleted`, …), UpstreamUnavailable (with
    `retry_after`). Returns QUEUED when time runs out, WAITING for the end of an embargo or an export, BLOCKED for
    closed files, CANCELLED when nothing changed, FAILED with every refused file, or COMPLETED with the SIP.
    """
    record = _record(archive, ports)
    if archive.step.input.get("engine") == harvest_bic.ENGINE:
        return harvest_bic.run(archive, ports, record)
    for _ in range(MOVES + 1):
        with (
            _budget(ports, record) as budget,
            connected(
                record,
                ports.settings,
                store=ports.store,
                token=_token(ports, record),
                budget=budget,
                drop=_drop(archive, ports, record),
                withheld=(ports.extras or {}).get("withheld"),
            ) as upstream,
        ):
            try:
                return _harvested(archive, ports, upstream)
            except UpstreamDeleted as deleted:
                return _deleted(archive, ports, record, deleted)
            except UpstreamRefused as refused:
                if refused.code != CLOSED:
                    raise
                return _shut(archive, ports, record, refused)
            except Moved as moved:
                record = recognise(moved.url, ports.settings)
    raise Rejected("The record says too often that it lives elsewhere.", code="upstream-redirect")


def _record(archive: ArchiveView, ports: Ports) -> Recognised:
    given = archive.step.input
    url, source, recid = given.get("url"), given.get("source"), given.get("recid")
    if isinstance(url, str) and url:
        return recognise(url, ports.settings)
    if isinstance(source, str) and isinstance(recid, str):
        return by_id(source, recid, ports.settings, base_url=given.get("base_url"))
    raise Rejected("A harvest needs a url, or a source and a recid.", code="incomplete-request")


def _token(ports: Ports, record: Recognised) -> str | None:
    """The credential for this source, when the runtime supplies them: `extras["credential"](source)`."""
    lookup = (ports.extras or {}).get("credential")
    return lookup(record.source) if callable(lookup) else None


def _budget(ports: Ports, record: Recognised) -> AbstractContextManager[Budget | None]:
    """The rate budget that all workers share, when the runtime supplies one: `extras["rate_budget"](profile)`."""
    supply = (ports.extras or {}).get("rate_budget")
    return supply(record.profile) if callable(supply) else nullcontext()


def _drop(archive: ArchiveView, ports: Ports, record: Recognised) -> Drop | None:
    """Where GitLab may put a project's export; a light package has to name an address of GitLab's instead."""
    if record.profile.protocol != "gitlab" or archive.step.input.get("light"):
        return None
    if not reachable(record, ports.settings):
        return None
    return Drop(ports.store, ports.settings.bucket_sips, f"{archive.id}/export/{archive.step.attempt}/")


def _harvested(archive: ArchiveView, ports: Ports, upstream: Upstream) -> Outcome:
    given = archive.step.input
    try:
        stored = planned(archive, ports, upstream)
        if stored.plan.closed is not None and not given.get("metadata_only"):
            return _closed(archive, ports, stored.plan)
        if given.get("known") == stored.fingerprint:
            return _unchanged(archive, ports, stored.plan)
        if given.get("light"):
            return _light(archive, ports, stored)
        receipt, refusals = transferred(archive, ports, stored, upstream.origin)
        if refusals or ports.clock.now() - stored.plan.captures[0].at > STALE:
            check_unchanged(stored.plan, upstream)
    except Preparing as preparing:
        poll_at = ports.clock.now() + timedelta(seconds=preparing.seconds)
        return Outcome(
            state=StepState.WAITING, poll_at=poll_at, checkpoint=archive.step.checkpoint, message=f"{preparing.what}."
        )
    except RecordChanged:
        return _again(archive)
    except OutOfTime as stopped:
        return _continued(archive, stopped)
    if refusals and all(each.code == CLOSED for each in refusals):
        return _closed_files(archive, ports, stored.plan, refusals)
    if refusals:
        return _failed(archive, ports, stored.plan, refusals)
    return _assembled(archive, ports, stored, receipt)


# --------------------------------------------------------------------------------------------------------- the SIP


def _assembled(archive: ArchiveView, ports: Ports, stored: Stored, receipt: Receipt) -> Outcome:
    plan, fetched = stored.plan, receipt.fetched
    at = plan.captures[0].at
    prefix = f"{archive.id}/{stored.folder}/"
    metadata = harvest_sip.metadata_files(plan, fetched, at, to_json(plan, public=True))
    tags = harvest_sip.bag_files(plan, fetched, metadata, at, ports.settings.organisation)
    _write(ports, prefix, [*metadata, *tags])
    package = Package(
        id=ports.derived("sip"),
        kind=PackageKind.SIP,
        bucket=ports.settings.bucket_sips,
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
        output=_output(stored, len(fetched), package.size),
        packages=(package,),
        files=((package.id, tuple(files)),),
        events=tuple(harvest_events.transferred(archive, ports, plan, fetched, str(package.id))),
        facts=(harvest_events.created(archive, package, plan.source, plan.recid),),
        findings=findings,
        archive=_change(plan),
    )


def _light(archive: ArchiveView, ports: Ports, stored: Stored) -> Outcome:
    """A bag that says where its files are: kept, but never called accepted before it is completed."""
    plan = stored.plan
    at = plan.captures[0].at
    prefix = f"{archive.id}/{stored.folder.replace('sip', 'light', 1)}/"
    files = harvest_light.bag(plan, at, to_json(plan, public=True), ports.settings.organisation)
    _write(ports, prefix, files)
    package = Package(
        id=ports.derived("light"),
        kind=PackageKind.SIP,
        bucket=ports.settings.bucket_sips,
        key=prefix,
        container="prefix",
        size=sum(len(file.data) for file in files),
        accepted=False,
    )
    return Outcome(
        state=StepState.COMPLETED_WITH_WARNINGS,
        output={**_output(stored, 0, package.size), "light": True},
        packages=(package,),
        events=tuple(harvest_events.transferred(archive, ports, plan, (), str(package.id))),
        findings=(
            Finding("incomplete", f"{len(plan.files)} files are named in fetch.txt and not fetched yet.", "warning"),
        ),
        archive=_change(plan),
    )


def _write(ports: Ports, prefix: str, files: Sequence[harvest_sip.TagFile]) -> None:
    """Store the files; the last one, `bagit.txt`, makes the prefix a bag and comes when all others are there."""
    *before, declaration = files
    bucket = ports.settings.bucket_sips
    with ThreadPoolExecutor(THREADS, thread_name_prefix="harvest") as pool:
        list(pool.map(lambda file: ports.store.put(bucket, prefix + file.path, file.data), before))
    ports.store.put(bucket, prefix + declaration.path, declaration.data)


def _output(stored: Stored, files: int, size: int) -> dict[str, Any]:
    plan = stored.plan
    return {
        "source": plan.source,
        "recid": plan.recid,
        "revision": plan.revision,
        "fingerprint": stored.fingerprint,
        "files": files,
        "bytes": size,
    }


def _change(plan: Plan) -> ArchiveChange:
    return ArchiveChange(
        title=plan.title,
        metadata=_described(plan),
        restricted=plan.restricted,
        source=plan.source,
        recid=plan.recid,
    )


def _described(plan: Plan) -> Mapping[str, Any]:
    told = {**plan.metadata, "url": redacted(plan.url), "parent": plan.parent, "revision": plan.revision}
    if plan.closed is not None and plan.closed.status == "embargoed" and plan.closed.until is not None:
        told["embargo_until"] = plan.closed.until.date().isoformat()
    return told


def _warnings(plan: Plan, receipt: Receipt) -> tuple[Finding, ...]:
    found = [Finding("file-renamed", f"{f.key!r}: {f.renamed}", "warning", f.path) for f in plan.files if f.renamed]
    found += [Finding("not-harvested", f"{s.key}: {s.reason}", "warning") for s in plan.skipped]
    found += [Finding("upstream-irregular", text, "warning") for text in plan.warnings]
    found += [
        Finding("not-compared", f"The declared {name} of {f.key} is not compared.", "warning", f.path)
        for f in plan.files
        for name in sorted(f.checksums.keys() - HEX_LENGTHS.keys())
    ]
    found += [Finding("file-missing", reason, "warning", path) for path, reason in receipt.missing]
    if plan.closed is not None:
        message = f"The files are {plan.closed.status}; metadata alone was kept."
        found.append(Finding("metadata-only", message, "warning"))
    return tuple(found)


# --------------------------------------------------------------------------------------------------- other endings


def _again(archive: ArchiveView) -> Outcome:
    replans = int(archive.step.checkpoint.get("replans", 0)) + 1
    if replans > REPLANS:
        raise UpstreamUnavailable("The record keeps changing while it is harvested.", retry_after=3600)
    return Outcome(state=StepState.QUEUED, checkpoint={"replans": replans})


def _continued(archive: ArchiveView, stopped: OutOfTime) -> Outcome:
    """Go on in another invocation; raises Rejected when a whole one brought nothing that could be kept, twice."""
    before = archive.step.checkpoint
    reached = {"done": stopped.done, "position": stopped.position}
    idle = int(before.get("idle", 0)) + 1 if {name: before.get(name) for name in reached} == reached else 0
    if idle >= IDLE:
        raise Rejected(
            "A file takes longer than one invocation may last, and its repository cannot send it in pieces.",
            code="upstream-too-slow",
        )
    return Outcome(state=StepState.QUEUED, checkpoint={**before, **reached, "idle": idle})


def _unchanged(archive: ArchiveView, ports: Ports, plan: Plan) -> Outcome:
    """Nothing new: no SIP, but the event that says so (harvesting.md 6.9)."""
    return Outcome(
        state=StepState.CANCELLED,
        error_code="unchanged",
        message="The record is as it was when it was harvested before.",
        output={"source": plan.source, "recid": plan.recid, "revision": plan.revision, "unchanged": True},
        events=(harvest_events.unchanged(archive, ports, plan),),
        archive=_change(plan),
    )


def _deleted(archive: ArchiveView, ports: Ports, record: Recognised, deleted: UpstreamDeleted) -> Outcome:
    """Nothing of ours is touched; what the upstream left in the record's place is kept (harvesting.md 6.12)."""
    capture = deleted.capture
    key = f"{archive.id}/{capture.name}"
    ports.store.put(ports.settings.bucket_sips, key, capture.body)
    told = {"url": capture.url, "at": capture.at.isoformat(), "key": key, **tombstone(capture.body)}
    return Outcome(
        state=StepState.FAILED,
        error_code=deleted.code,
        message=deleted.message,
        output={"source": record.source, "recid": record.recid, "tombstone": told},
        events=(harvest_events.deleted(archive, ports, record, told),),
        archive=ArchiveChange(metadata={"upstream_tombstone": told}, source=record.source, recid=record.recid),
    )


def _closed(archive: ArchiveView, ports: Ports, plan: Plan) -> Outcome:
    """Closed files are a state, not an error: wait for the end of an embargo, else let a person decide."""
    status, until = (plan.closed.status, plan.closed.until) if plan.closed else ("closed", None)
    event = harvest_events.closed(archive, ports, plan.source, plan.recid, status)
    now = ports.clock.now()
    if until is not None and until + LIFTING > now:
        return Outcome(
            state=StepState.WAITING,
            poll_at=until if until > now else now + LIFTING_POLL,
            checkpoint={"embargo": until.isoformat()},
            events=(event,),
            archive=_change(plan),
            message=f"The files are under embargo until {until.date().isoformat()}.",
        )
    return Outcome(
        state=StepState.BLOCKED,
        error_code=CLOSED,
        message=f"The files of this record are {status}: give a credential, or ask for metadata only.",
        events=(event,),
        archive=_change(plan),
    )


def _closed_files(archive: ArchiveView, ports: Ports, plan: Plan, refusals: Sequence[FileRefused]) -> Outcome:
    """Files that the record shows and does not give: closed like those that it hides."""
    return Outcome(
        state=StepState.BLOCKED,
        error_code=CLOSED,
        message=f"{refusals[0].message} Give a credential, or ask for metadata only: {len(refusals)} files are closed.",
        findings=tuple(Finding(r.code, r.message, "error", r.path) for r in refusals[:1000]),
        events=(harvest_events.refused(archive, ports, plan, refusals),),
        archive=_change(plan),
    )


def _shut(archive: ArchiveView, ports: Ports, record: Recognised, refused: UpstreamRefused) -> Outcome:
    """A record that is shown to nobody without a credential: a person gives one and has it tried again."""
    return Outcome(
        state=StepState.BLOCKED,
        error_code=CLOSED,
        message=f"{refused.message} Keep a credential for {record.profile.name} that may read it, and try again.",
        events=(harvest_events.closed(archive, ports, record.source, record.recid, "not shown to us"),),
        archive=ArchiveChange(source=record.source, recid=record.recid),
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
        archive=_change(plan),
    )
