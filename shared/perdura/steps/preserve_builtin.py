"""Preserve by the built-in engine: an accepted SIP becomes an AIP that stands on its own (archivematica.md 8).

The payload is streamed once, from the SIP in the store to the AIP in the store; on the way it is hashed, compared
with the SIP's manifests, identified and scanned. The same attempt always writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from uuid import UUID

from perdura import __version__
from perdura.errors import Broken, Rejected, Retryable
from perdura.outcome import (
    ArchiveView,
    Copy,
    Fact,
    File,
    Finding,
    Outcome,
    Package,
    PackageKind,
    StepState,
)
from perdura.packages import aip_eark
from perdura.packages.aip import METS, PLAIN, AipWriter, Layout, Member
from perdura.packages.aip_check import read_back
from perdura.packages.aip_index import Entry, Header, encode
from perdura.packages.mets import SoftwareNote, measure, write
from perdura.ports import Identification, Ports, VirusScanner
from perdura.premis.model import Agent, Event, Identifier
from perdura.steps.preserve_additions import Addition, additions_of, changes
from perdura.steps.preserve_copy import Copied, copy
from perdura.steps.preserve_document import document, sip_json
from perdura.steps.preserve_events import NOT_DONE, SOFTWARE, Act, Inspected, Provenance, tool_agent
from perdura.steps.preserve_import import PLACES, Imported, imported
from perdura.steps.preserve_rights import statements
from perdura.steps.preserve_submission import open_submission
from perdura.storage.store import Written
from perdura.storage.timed import timed

_WHOLE = ("sha256", "sha512", "adler32")
_FINDINGS = 100

PERDURA, EARK = "perdura", "eark"
"""Profiles of an AIP: our own layout, or an E-ARK package within the bag; the step's input may name one."""

Described = tuple[Member, Identification | None]
"""A member with its format; the copied files come first among an AIP's members, in the same order."""


@dataclass(frozen=True, slots=True)
class Scanning:
    """The scanner to use, or `reason` why there is none; `engine` is what it calls itself."""

    scanner: VirusScanner | None
    engine: str = ""
    trusted: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is settled before the first byte is read."""

    archive: ArchiveView
    ports: Ports
    sip: Package
    aip: UUID
    key: str
    created: datetime
    scanning: Scanning
    provenance: Provenance
    profile: str
    predecessor: Package | None = None
    reason: str = ""
    additions: tuple[Addition, ...] = ()

    @property
    def layout(self) -> Layout:
        """Where the files of the SIP go."""
        return aip_eark.layout(str(self.aip)) if self.profile == EARK else PLAIN

    @property
    def retain_until(self) -> datetime | None:
        """Until when the store is to refuse to delete the AIP; None where no retention is wanted."""
        days = self.ports.settings.aip_retention_days
        return self.created + timedelta(days=days) if days else None


@dataclass(frozen=True, slots=True)
class History:
    """Events of before this step: `recorded` in the log, `told` by the producer's own PREMIS."""

    recorded: tuple[Event, ...]
    told: Imported


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Make the AIP, read it back, and say what it is.

    FAILED with `fixity-mismatch` or `infected` when the SIP is not what was accepted or carries malware; BLOCKED
    when a required scan cannot be had. Raises Rejected without an accepted SIP, Retryable when the store fails, TimeUp
    when the package is too large for one invocation: nothing of it is registered then.
    """
    plan = _plan(archive, ports)
    required = ports.settings.virus_scan == "required"
    if required and not plan.scanning.trusted:
        return _blocked(plan.scanning.reason or "the scanner's database is missing, too old, or only a test one")
    bucket = ports.settings.bucket_aips
    with (
        ports.store.writer(
            bucket, plan.key, algorithms=_WHOLE, content_type="application/x-tar", retain_until=plan.retain_until
        ) as sink,
        AipWriter(sink, str(archive.id), archive.created_at or plan.created) as aip,
    ):
        submission = open_submission(timed(ports.store, ports.deadline.near), plan.sip)
        copied = copy(submission, aip, plan.layout, ports, plan.scanning.scanner, plan.sip.size, plan.additions)
        del submission  # what its container knows of 100,000 members is not needed twice
        refusal = _refusal(plan, copied, required=required)
        if refusal is not None:
            return refusal
        acts = _acts(plan, copied)
        history = _history(plan, copied)
        _describe(plan, aip, copied, acts, history)
        aip.finish(_bag_info(plan))
        written = sink.finish()
    read_back(timed(ports.store, ports.deadline.near), written)
    return _outcome(plan, aip.members, copied, acts, history, written)


def poll(archives: Sequence[ArchiveView], ports: Ports) -> Sequence[tuple[ArchiveView, Outcome]]:  # noqa: ARG001
    """Nothing of this engine waits for anybody."""
    return ()


def _plan(archive: ArchiveView, ports: Ports) -> Plan:
    sip = archive.package(PackageKind.SIP)
    if sip is None:
        raise Rejected("this Archive has no accepted submission package", code="no-sip")
    profile = archive.step.input.get("profile") or ports.settings.preserve_profile
    if profile not in (PERDURA, EARK):
        raise Rejected(f"there is no AIP profile {str(profile)[:80]!r}; there are perdura and eark", code="no-profile")
    created = archive.step.created_at or archive.created_at
    if created is None:
        raise Broken("neither the Archive nor the step has a time of creation", code="no-creation-time")
    aip = ports.derived("aip")
    about = (Identifier("UUID", str(aip), ("outcome",)), Identifier("UUID", str(archive.id)))
    created = created.astimezone(UTC)
    predecessor = archive.package(PackageKind.AIP)
    return Plan(
        archive=archive,
        ports=ports,
        sip=sip,
        aip=aip,
        key=f"{archive.id}/{archive.id if predecessor is None else aip}.tar",
        created=created,
        scanning=scanning_of(ports),
        provenance=Provenance(ports.derived, created, about, ports.settings.organisation),
        profile=profile,
        predecessor=predecessor,
        reason=str(archive.step.input.get("reason") or "")[:500],
        additions=additions_of(archive.step.input),
    )


def scanning_of(ports: Ports) -> Scanning:
    """The scanner that the policy allows, or why there is none."""
    if ports.settings.virus_scan == "off":
        return Scanning(None, reason="switched off by policy")
    if ports.scanner is None:
        return Scanning(None, reason="no virus scanner is configured")
    try:
        return Scanning(ports.scanner, ports.scanner.engine, ports.scanner.trusted)
    except Retryable as error:
        return Scanning(None, reason=f"the virus scanner is unavailable: {error.message}")


def _blocked(reason: str) -> Outcome:
    return Outcome(
        StepState.BLOCKED,
        error_code="virus-scan-unavailable",
        message=f"a virus scan is required, but {reason}",
    )


def _refusal(plan: Plan, copied: Copied, *, required: bool) -> Outcome | None:
    """Why no AIP may be made of these bytes, if so; nothing was made visible yet."""
    if copied.mismatches:
        detail = "manifests of the submission package"
        return _failed(plan, "fixity-mismatch", "fixity check", detail, copied.mismatches)
    infected = [
        Finding("infected", f"{file.original}: {file.scan.detail}", path=file.original)
        for file in copied.files
        if file.scan and file.scan.verdict == "infected"
    ]
    if infected:
        return _failed(plan, "infected", "virus check", plan.scanning.engine, infected)
    errors = [file.scan.detail for file in copied.files if file.scan and file.scan.verdict == "error"]
    if required and errors:
        return _blocked(f"the scanner failed: {errors[0]}")
    return None


def _failed(plan: Plan, code: str, act: str, detail: str, findings: Sequence[Finding]) -> Outcome:
    message = findings[0].message + (f" (and {len(findings) - 1} more)" if len(findings) > 1 else "")
    about = (Identifier("UUID", str(plan.sip.id)), Identifier("UUID", str(plan.archive.id)))
    provenance = Provenance(plan.ports.derived, plan.created, about, plan.ports.settings.organisation)
    event = provenance.failed(act, detail, [finding.message for finding in findings[:_FINDINGS]])
    return Outcome(
        StepState.FAILED,
        error_code=code,
        message=message,
        findings=tuple(findings[:_FINDINGS]),
        events=(event,),
    )


def _acts(plan: Plan, copied: Copied) -> list[Act]:
    provenance, scanning = plan.provenance, plan.scanning
    files = [Inspected(file.id, file.original, file.format, file.scan) for file in copied.files]
    acts = [provenance.fixity(copied.declarations.algorithms, len(files)), provenance.digests(len(files))]
    if plan.ports.identifier is not None:
        acts += provenance.identification(plan.ports.identifier.tool, files)
    for told in copied.characterising.told:
        covers = [files[number].id for number in told.files]
        acts += provenance.characterisation(told.tool, told.path, covers, told.failures)
    if scanning.scanner is None:
        acts.append(provenance.no_virus_check(scanning.reason))
    else:
        acts += provenance.virus_check(scanning.engine, scanning.trusted, files)
    if plan.predecessor is not None:
        acts.append(provenance.version(str(plan.predecessor.id), plan.reason, changes(plan.additions)))
    acts.append(provenance.creation())
    return acts


def _history(plan: Plan, copied: Copied) -> History:
    """What happened before this step: the log's events of the Archive, and those the producer tells of."""
    recorded: Sequence[Event] = (plan.ports.extras or {}).get("earlier_events", ())
    documents = [(path, text) for path in PLACES if (text := copied.declarations.text(path)) is not None]
    if not documents:
        return History(tuple(recorded), Imported())
    known = {event.id for event in recorded}
    ids = {file.original: file.id for file in copied.files}
    found = [imported(path, text, plan.archive.id, ids, plan.created) for path, text in documents]
    told = Imported(
        tuple(event for each in found for event in each.events if event.id not in known),
        tuple(agent for each in found for agent in each.agents),
        tuple(finding for each in found for finding in each.findings),
    )
    return History(tuple(recorded), told)


def _agents(plan: Plan, copied: Copied, events: Sequence[Event], told: Sequence[Agent]) -> list[Agent]:
    """Every agent that an event names, once: those known here in full, others by what the events say of them."""
    known = [plan.provenance.software(), plan.provenance.institution(), *told]
    if plan.ports.identifier is not None:
        known.append(tool_agent(plan.ports.identifier.tool))
    known += [tool_agent(each.tool) for each in copied.characterising.told]
    if plan.scanning.engine:
        known.append(tool_agent(plan.scanning.engine))
    agents = {(agent.identifier.type, agent.identifier.value): agent for agent in known}
    for event in events:
        for link in event.agents:
            agents.setdefault((link.type, link.value), Agent(Identifier(link.type, link.value), link.value, "software"))
    return list(agents.values())


def _describe(plan: Plan, aip: AipWriter, copied: Copied, acts: Sequence[Act], history: History) -> None:
    earlier = (*history.told.events, *history.recorded)
    mets = document(
        plan.archive,
        str(plan.aip),
        str(plan.ports.derived("representation")),
        plan.created,
        copied,
        acts,
        earlier,
        _agents(plan, copied, [*earlier, *(act.event for act in acts)], history.told.agents),
        statements(plan.archive, copied.declarations.bag_info, sip_json(copied), plan.ports.derived),
        SoftwareNote("Perdura preserve", __version__, (NOT_DONE,)),
        str(plan.predecessor.id) if plan.predecessor else None,
    )
    if plan.profile == EARK:
        aip_eark.describe(aip, mets)
    else:
        aip.add(METS, measure(mets), write(mets))


def _bag_info(plan: Plan) -> list[tuple[str, str]]:
    archive = plan.archive
    fields = [
        ("Source-Organization", plan.ports.settings.organisation),
        ("Bagging-Date", plan.created.date().isoformat()),
        ("External-Identifier", f"urn:uuid:{plan.aip}"),
        ("Internal-Sender-Identifier", str(archive.id)),
        ("Bag-Software-Agent", SOFTWARE),
    ]
    if archive.title:
        fields.append(("External-Description", archive.title))
    return fields


def _index(plan: Plan, described: Sequence[Described], written: Written) -> str:
    """Store the index beside the AIP and give back its key."""
    key = plan.key.removesuffix(".tar") + ".index.jsonl"
    header = Header(
        aip=str(plan.aip),
        archive=str(plan.archive.id),
        base=str(plan.archive.id),
        size=written.info.size,
        checksums=written.checksums,
        members=len(described),
    )
    with plan.ports.store.writer(plan.ports.settings.bucket_aips, key, content_type="application/x-ndjson") as sink:
        for line in encode(header, _entries(described)):
            sink.write(line)
        sink.finish()
    return key


def _entries(described: Sequence[Described]) -> Iterator[Entry]:
    for member, found in sorted(described, key=lambda each: each[0].offset):
        yield Entry(member, found.key if found else None, found.name if found else None)


def _outcome(
    plan: Plan,
    members: Sequence[Member],
    copied: Copied,
    acts: Sequence[Act],
    history: History,
    written: Written,
) -> Outcome:
    described = list(zip_longest(members, (file.format for file in copied.files)))
    verified_at = plan.ports.clock.now()
    ref = written.info.ref
    uri = f"s3://{ref.bucket}/{ref.key}"
    package = Package(
        id=plan.aip,
        kind=PackageKind.AIP,
        bucket=ref.bucket,
        key=ref.key,
        container="tar",
        size=written.info.size,
        version_id=ref.version_id,
        etag=ref.etag,
        checksums=dict(written.checksums),
        index_key=_index(plan, described, written),
        retain_until=plan.retain_until,
    )
    files = tuple(_file(member, found) for member, found in described if member.path.startswith("data/"))
    findings = (*_unscanned(plan, copied), *copied.characterising.findings, *history.told.findings)
    return Outcome(
        StepState.COMPLETED_WITH_WARNINGS if findings else StepState.COMPLETED,
        output={"aip": str(plan.aip), "files": len(files), "size": written.info.size},
        packages=(package,),
        copies=(Copy(plan.aip, "object-store", uri, package.size, package.checksums, verified_at),),
        files=((plan.aip, files),),
        events=(
            *history.told.events,
            *(act.event for act in acts),
            plan.provenance.stored(uri, written.checksums["sha256"], verified_at),
        ),
        facts=(_fact(plan, package, len(files)),),
        findings=findings,
    )


def _file(member: Member, found: Identification | None) -> File:
    return File(
        path=member.path,
        size=member.size,
        checksums=member.digests,
        offset=member.offset,
        format_name=found.name if found else None,
        format_key=found.key if found else None,
        media_type=found.media_type if found else None,
    )


def _unscanned(plan: Plan, copied: Copied) -> tuple[Finding, ...]:
    """Files that a required scan could not look into; under any other policy the event alone says it."""
    if plan.ports.settings.virus_scan != "required":
        return ()
    return tuple(
        Finding("not-scanned", f"{file.original}: {file.scan.detail}", "warning", file.original)
        for file in copied.files
        if file.scan and file.scan.verdict == "not-scanned"
    )[:_FINDINGS]


def _fact(plan: Plan, package: Package, files: int) -> Fact:
    reference = {
        "id": str(package.id),
        "kind": str(package.kind),
        "bucket": package.bucket,
        "key": package.key,
        "version_id": package.version_id,
        "size": package.size,
        "checksums": dict(package.checksums),
    }
    data = {"archive": str(plan.archive.id), "package": reference, "files": files}
    return Fact("org.perdura.aip.created.v1", data)
