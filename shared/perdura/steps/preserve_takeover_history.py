"""What an Archivematica AIP tells of itself: its files into the registry, its events into the log (7.3, 7.5).

Everything is compared before anything is recorded. An ordinary history is recorded with the outcome, in one
transaction; one of a million events in batches of its own, from a METS that was found good, going on where the last
invocation stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain

from perdura.ids import derived_id
from perdura.outcome import ArchiveView, File, Package, PackageKind
from perdura.packages.limits import limits_of
from perdura.packages.mets_read import BadMets, MetsAgent, MetsEvent, MetsFile, MetsObject, read_mets
from perdura.packages.pointer import Pointer
from perdura.packages.verify import verify
from perdura.ports import Ports
from perdura.premis.model import Agent, Event, Identifier
from perdura.premis.xml import BadPremis, agent_from, event_from, is_uuid, parse, sent_identifier
from perdura.steps.preserve_additions import Addition, additions_of, bytes_of, replaced
from perdura.steps.preserve_declared import Declarations
from perdura.steps.preserve_submission import Submission, open_submission
from perdura.steps.preserve_takeover_course import Flawed
from perdura.steps.preserve_takeover_inside import Inside
from perdura.steps.stored_package import source_of
from perdura.storage.digests import Digests
from perdura.storage.store import Store
from perdura.storage.timed import timed

TOGETHER = 10_000
"""Events that are recorded in the transaction that ends the step; more have to be recorded before it."""
_BATCH = 1000
_SHOWN = 5
_PASSED = frozenset({"pass", "passed", "success"})
_STRENGTH = ("md5", "sha1", "sha512", "sha256")
"""Algorithms an Archivematica may be set to; SHA-256 is what submissions have."""
_LOCAL_AGENT = "Archivematica user pk"
"""A user by the number that one Archivematica gave it: in a log of many it would name others too."""


@dataclass(frozen=True, slots=True)
class History:
    """The files of an AIP, their digests, its agents, and its events: all of them, or how many.

    `unscanned` are those of the `originals` files of the submission of which no virus check is told that was passed.
    A digest is the SHA-256 of the bytes where the bag could be opened, else of the `algorithm` that the METS uses.
    """

    files: tuple[File, ...]
    algorithm: str
    digests: frozenset[str]
    agents: tuple[Agent, ...]
    events: tuple[Event, ...]
    count: int
    originals: int = 0
    unscanned: tuple[str, ...] = ()

    @property
    def is_long(self) -> bool:
        """Whether the events are too many to be held: `record` has to be called for them."""
        return self.count > len(self.events)

    def submitted(self, archive: ArchiveView, ports: Ports) -> Iterator[tuple[str, str]]:
        """(path, digest) of every payload file handed over: of the SIP but for what additions replace, and theirs."""
        sip = archive.package(PackageKind.SIP)
        if sip is None:
            return
        additions = additions_of(archive.step.input)
        store = timed(ports.store, ports.deadline.near)
        submission = open_submission(store, sip, limits_of(ports.settings))
        gone = replaced(additions, submission.layout)
        payload = _payload(submission, sip, self.algorithm, store)
        yield from ((path, digest) for path, digest in payload if path not in gone)
        for each in additions:
            yield f"data/{each.path}", _digest(each, self.algorithm, store)


def _payload(submission: Submission, sip: Package, algorithm: str, store: Store) -> Iterator[tuple[str, str]]:
    """(path, digest) of every payload file of the SIP: by its manifest, else by reading it."""
    declarations = Declarations(submission)
    if algorithm in declarations.algorithms:
        yield from declarations.payload(algorithm)
        return
    for file in verify(source_of(sip, store), limits=submission.limits, algorithms=(algorithm,)).files:
        if file.is_payload:
            yield file.path, file.checksums[algorithm]


def _digest(added: Addition, algorithm: str, store: Store) -> str:
    if algorithm == "sha256":
        return added.sha256
    digests = Digests((algorithm,))
    for chunk in bytes_of(added, store):
        digests.update(chunk)
    return digests.hexdigests()[algorithm]


def read_history(
    archive: ArchiveView, package: Package, inside: Inside, pointer: Pointer | None, ports: Ports
) -> History:
    """Read the METS once, comparing it with the bag; raises BadMets or Flawed when they contradict each other."""
    objects: dict[str, _Known] = {}
    files: list[File] = []
    events: list[Event] = []
    agents: dict[str, Agent] = {}
    same: dict[str | None, str | None] = {}
    count = originals = 0
    scanned: set[str] = set()
    unscanned: list[str] = []
    for part in chain(_of_pointer(pointer), read_mets(inside.mets())):
        if isinstance(part, MetsObject) and part.kind == "file":
            objects[part.section] = _known(part, same)
        elif isinstance(part, MetsEvent):
            count += 1
            if part.section and _passed_scan(part):
                scanned.add(part.section)
            if count <= TOGETHER:
                events.append(_placed(part, package, archive, ports))
            else:
                events.clear()
        elif isinstance(part, MetsAgent):
            _take_note(part, agents)
        elif isinstance(part, MetsFile):
            files.append(_file(part, objects, inside.manifest))
            if part.use == "original":
                originals += 1
                unscanned += [files[-1].path] if scanned.isdisjoint(part.sections) else []
    _contradictions(files, inside.manifest)
    algorithm = _algorithm(files)
    digests = frozenset(each.checksums[algorithm] for each in files if algorithm in each.checksums)
    return History(
        tuple(files),
        algorithm,
        digests,
        tuple(agents.values()),
        tuple(events),
        count,
        originals,
        tuple(unscanned),
    )


def _passed_scan(part: MetsEvent) -> bool:
    """Whether it is a virus check that found nothing; Archivematica writes Pass (archivematica.md 7.3)."""
    if (part.element.findtext("{*}eventType") or "").strip() != "virus check":
        return False
    outcome = part.element.findtext("{*}eventOutcomeInformation/{*}eventOutcome") or ""
    return outcome.strip().lower() in _PASSED


def _algorithm(files: Sequence[File]) -> str:
    """The algorithm by which most files are known, the strongest of several."""
    known = Counter(name for each in files for name in each.checksums if name in _STRENGTH)
    return max(_STRENGTH, key=lambda name: (known[name], _STRENGTH.index(name)))


def record(
    archive: ArchiveView, package: Package, inside: Inside, pointer: Pointer | None, done: int, ports: Ports
) -> int:
    """Add the events of a long history to the log, from number `done` on, until time is up; gives how far it came.

    Those that the log has already stay as they are.
    """
    batch: list[Event] = []
    number = 0
    for part in chain(_of_pointer(pointer), read_mets(inside.mets())):
        if not isinstance(part, MetsEvent):
            continue
        number += 1
        if number <= done:
            continue
        batch.append(_placed(part, package, archive, ports))
        if len(batch) >= _BATCH:
            ports.record(batch)
            batch, done = [], number
            ports.progress("record", done, None)
            if ports.deadline.near():
                return done
    if batch:
        ports.record(batch)
    return number


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of an object until its file is seen."""

    size: int
    sha256: str | None
    digests: Mapping[str, str] | None
    format_name: str | None
    format_key: str | None


def _known(part: MetsObject, same: dict[str | None, str | None]) -> _Known:
    """Formats are few and objects many: `same` has one text of each."""
    others = {name: value for name, value in part.digests.items() if name != "sha256"}
    name = same.setdefault(part.format_name, part.format_name)
    key = same.setdefault(part.format_key, part.format_key)
    return _Known(part.size or 0, part.digests.get("sha256"), others or None, name, key)


def _take_note(part: MetsAgent, agents: dict[str, Agent]) -> None:
    """Remember an agent, which Archivematica repeats for each file; what is incomplete stays but a name in events."""
    kind = (part.element.findtext("{*}agentIdentifier/{*}agentIdentifierType") or "").strip()
    value = (part.element.findtext("{*}agentIdentifier/{*}agentIdentifierValue") or "").strip()
    if kind == _LOCAL_AGENT or value in agents:
        return
    with suppress(BadPremis):
        agents[value] = agent_from(part.element)


def _of_pointer(pointer: Pointer | None) -> Iterator[MetsEvent]:
    for text in pointer.events if pointer else ():
        yield MetsEvent("", None, parse(text))


def _placed(part: MetsEvent, package: Package, archive: ArchiveView, ports: Ports) -> Event:
    """An event as the log keeps it: with the object it is about, which Archivematica shows by its place alone."""
    event = event_from(part.element, now=ports.clock.now())
    sent = sent_identifier(part.element)
    # A foreign identifier that is no UUID gets one derived from it, so that the same METS gives the same events.
    identity = (
        event.id if is_uuid(sent) else derived_id("archivematica event", package.id, sent, event.type, event.date)
    )
    values = [value for kind, value in (part.about.identifiers if part.about else ()) if kind.upper() == "UUID"]
    linked = dict.fromkeys((*values, str(package.id), str(archive.id)))
    known = {each.value for each in event.objects}
    return replace(
        event,
        id=identity,
        identifier=str(identity),
        objects=(*event.objects, *(Identifier("UUID", value) for value in linked if value not in known)),
    )


def _file(part: MetsFile, objects: Mapping[str, _Known], manifest: Mapping[str, str] | None) -> File:
    about = next((objects[section] for section in part.sections if section in objects), None)
    path = f"data/{part.href}"
    sha256 = about.sha256 if about else None
    if manifest is not None:
        found = manifest.get(path)
        if found is None:
            raise Flawed(f"The METS lists {path}, which the bag does not have.", code="mets-contradicts-bag")
        if sha256 not in (None, found):
            raise Flawed(f"{path} has another SHA-256 than the METS says.", code="mets-contradicts-bag")
        sha256 = found
    others = about.digests if about and about.digests else {}
    return File(
        path,
        about.size if about else 0,
        {**others, **({"sha256": sha256} if sha256 else {})},
        format_name=about.format_name if about else None,
        format_key=about.format_key if about else None,
    )


def _contradictions(files: list[File], manifest: Mapping[str, str] | None) -> None:
    if len({file.path for file in files}) != len(files):
        raise BadMets("The METS lists a file twice.", code="mets-contradicts-bag")
    if manifest is None:
        return
    listed = {file.path for file in files}
    unlisted = [path for path in manifest if path.startswith("data/objects/") and path not in listed]
    if unlisted:
        shown = ", ".join(unlisted[:_SHOWN])
        raise Flawed(f"{len(unlisted)} files of the bag are not in its METS: {shown}", code="mets-contradicts-bag")
