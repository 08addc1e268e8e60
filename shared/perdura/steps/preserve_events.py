"""The PREMIS events and agents of an AIP's making (archivematica.md 8.5, 8.6): one event per act and outcome."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from perdura import __version__
from perdura.ports import Identification, Scan
from perdura.premis.model import FAILURE, SUCCESS, WARNING, Agent, Event, Identifier, Outcome

SOFTWARE = f"perdura/{__version__} preserve"
NOT_DONE = (
    "not done by this engine: characterisation, format validation, normalisation, "
    "text recognition, extraction of packages"
)
UNTRUSTED = "the scanner's database is missing, too old or a test one, or it calls clean what it could not look into"
EXECUTING = ("executing program",)
_LINKS = 1000
_AGENT_TYPES = frozenset({"hardware", "organization", "person", "software"})
"""What PREMIS calls agents (Library of Congress, agentType), and types of identifiers may be called."""
_VERSION = re.compile(r"[ /]v?([0-9].*)", re.ASCII)
"""What follows a tool's name in what it calls itself: its version, with that of its signatures or database."""


class Files(Protocol):
    """The files of a package by number: by what events name them, their formats and scans."""

    def __len__(self) -> int: ...

    def link(self, number: int, /) -> Identifier:
        """What an event names a file by."""
        ...

    def format(self, number: int, /) -> Identification | None:
        """Format of a file."""
        ...

    def scan(self, number: int, /) -> Scan | None:
        """What the virus scanner said of a file."""
        ...


@dataclass(frozen=True, slots=True)
class Act:
    """One event, and which of the files it is about: `marks` has a byte per file number, not zero for those.

    None means every file; files beyond the last byte are not meant.
    """

    event: Event
    marks: bytes | None = None

    def covers(self, number: int) -> bool:
        """Whether the event is about that file."""
        return self.marks is None or (number < len(self.marks) and self.marks[number] != 0)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Makes the events of one step: ids derived from names, one instant, and the package they are about."""

    derived: Callable[[str], UUID]
    at: datetime
    objects: tuple[Identifier, ...]
    organisation: str

    def software(self) -> Agent:
        """The engine itself, with what it does not do."""
        return Agent(Identifier("software", SOFTWARE), "Perdura preserve", "software", (NOT_DONE,), __version__)

    def institution(self) -> Agent:
        """The institution that runs it."""
        return Agent(Identifier("organization", self.organisation), self.organisation, "organization")

    def fixity(self, algorithms: Sequence[str], files: int) -> Act:
        """The SIP's bytes are those that its manifests declare."""
        detail = f"manifests of the submission package: {', '.join(algorithms) or 'none'}; {files} files"
        return Act(self._event("fixity check", detail, Outcome(SUCCESS)))

    def digests(self, files: int) -> Act:
        """SHA-256 and SHA-512 of every file were computed."""
        detail = f'program="{SOFTWARE}"; algorithms=SHA-256, SHA-512'
        return Act(self._event("message digest calculation", detail, Outcome(SUCCESS, (f"{files} files",))))

    def identification(self, tool: str, files: Files) -> list[Act]:
        """Formats were looked for; files without one are the matter of an event of their own."""
        known, guessed, unknown = array("L"), array("L"), array("L")
        for number in range(len(files)):
            found = files.format(number)
            if found is None or found.key is None:
                unknown.append(number)
            if found is not None and found.tentative:
                guessed.append(number)
            elif found is not None and found.key:
                known.append(number)
        acts = []
        if known or not len(files):
            outcome = Outcome(SUCCESS, (f"{len(known)} of {len(files)} files identified",))
            marks = None if len(known) == len(files) else _marks(known)
            acts.append(Act(self._event("format identification", tool, outcome, tool=tool), marks))
        for note, about in (("by name only, not by content", guessed), ("not identified", unknown)):
            if about:
                acts.append(self._exception("format identification", tool, WARNING, note, files, about))
        return acts

    def characterisation(self, tool: str, output: str, covers: Sequence[int], failures: Sequence[str]) -> list[Act]:
        """What a tool said of files is kept in the AIP; where it failed is told, and is no fault of the files."""
        acts = []
        if covers:
            outcome = Outcome(SUCCESS, (f"{len(covers)} files", f"output: {output.removeprefix('data/')}"))
            acts.append(Act(self._event("metadata extraction", tool, outcome, name=tool, tool=tool), _marks(covers)))
        if failures:
            outcome = Outcome(WARNING, tuple(failures[:_LINKS]))
            event = self._event("metadata extraction", tool, outcome, name=f"{tool} failed", tool=tool)
            acts.append(Act(event, b""))
        return acts

    def virus_check(self, engine: str, trusted: bool, files: Files) -> list[Act]:
        """What the scanner said; nothing has passed that it did not look at with a database one can trust."""
        acts = []
        clean = array("L")
        others: dict[str, array[int]] = {}
        for number in range(len(files)):
            scan = files.scan(number)
            if scan and scan.verdict == "clean":
                clean.append(number)
            else:
                others.setdefault(_said(scan), array("L")).append(number)
        if clean or not len(files):
            notes = [f"{len(clean)} of {len(files)} files scanned, nothing found"]
            if not trusted:
                notes.append(f"not passed: {UNTRUSTED}")
            outcome = Outcome(SUCCESS if trusted else WARNING, tuple(notes))
            marks = _marks(clean) if others else None
            acts.append(Act(self._event("virus check", engine, outcome, tool=engine), marks))
        for detail, about in sorted(others.items()):
            acts.append(self._exception("virus check", engine, WARNING, f"not scanned: {detail}", files, about))
        return acts

    def no_virus_check(self, reason: str) -> Act:
        """No file was scanned, and why."""
        return Act(self._event("virus check", "not done", Outcome(WARNING, (f"not scanned: {reason}",))))

    def version(self, predecessor: str, reason: str, changes: Sequence[str]) -> Act:
        """The AIP is a new version of another, and why."""
        migrated = any(" made from " in change for change in changes)
        detail = f"new version of AIP {predecessor}: {reason or 'no reason given'}"
        source = (Identifier("UUID", predecessor, ("source",)),)
        outcome = Outcome(SUCCESS, tuple(changes[:_LINKS]))
        kind = "migration" if migrated else "modification"
        return Act(self._event(kind, detail, outcome, name="version", objects=source), b"")

    def creation(self) -> Act:
        """The AIP came into being."""
        detail = f'program="{SOFTWARE}"; {NOT_DONE}'
        return Act(self._event("creation", detail, Outcome(SUCCESS)))

    def stored(self, uri: str, sha256: str, at: datetime) -> Event:
        """The stored tar was read back completely; only the log can know this."""
        detail = "the stored package was read back and compared; algorithm=SHA-256"
        event = self._event("fixity check", detail, Outcome(SUCCESS, (f"sha256 {sha256}", uri)), name="stored")
        return Event(event.id, event.type, at, event.details, event.outcomes, event.agents, event.objects)

    def failed(self, kind: str, detail: str, notes: Iterable[str]) -> Event:
        """An act that found something wrong; there is no AIP, so it is about the SIP."""
        return self._event(kind, detail, Outcome(FAILURE, tuple(notes)), name="failure")

    def _exception(self, kind: str, tool: str, outcome: str, note: str, files: Files, about: Sequence[int]) -> Act:
        notes = (note, f"{len(about)} files")
        links = tuple(files.link(number) for number in about[:_LINKS])
        event = self._event(kind, tool, Outcome(outcome, notes), name=note, tool=tool, objects=links)
        return Act(event, _marks(about))

    def _event(
        self,
        kind: str,
        detail: str,
        outcome: Outcome,
        *,
        name: str = "package",
        tool: str | None = None,
        objects: tuple[Identifier, ...] = (),
    ) -> Event:
        agents = (
            *(Identifier("software", program, EXECUTING) for program in (SOFTWARE, tool) if program),
            Identifier("organization", self.organisation, ("implementer",)),
        )
        identity = self.derived(f"event/{kind}/{name}")
        return Event(identity, kind, self.at, (detail,), (outcome,), agents, (*self.objects, *objects))


def tool_agent(name: str) -> Agent:
    """A tool that was used, under the name that it gives itself, and the version in that."""
    found = _VERSION.search(name)
    return Agent(Identifier("software", name), name, "software", version=found[1] if found else None)


def named_agent(kind: str, name: str) -> Agent:
    """An agent of which no more is known than how an event names it: of no type, where that does not tell it."""
    if kind == "software":
        return tool_agent(name)
    return Agent(Identifier(kind, name), name, kind if kind in _AGENT_TYPES else "")


def _marks(numbers: Sequence[int]) -> bytes:
    """A byte for each file number, one for those given."""
    marks = bytearray(max(numbers, default=-1) + 1)
    for number in numbers:
        marks[number] = 1
    return bytes(marks)


def _said(scan: Scan | None) -> str:
    return f"{scan.verdict}: {scan.detail}" if scan else "the scanner gave no answer"
