"""Reads an AIP of any of our layouts, or one that Archivematica made: what it holds, what happened to it, what differs.

Our own AIPs have their METS at `data/metadata/METS.xml`, E-ARK packages one in every folder and PREMIS apart,
Archivematica's one at `data/METS.<uuid>.xml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from perdura.errors import Rejected
from perdura.packages.container import Container
from perdura.packages.findings import Findings
from perdura.packages.layout import Layout, find_bag
from perdura.packages.limits import AIP_LIMITS
from perdura.packages.mets_read import MetsAgent, MetsEvent, MetsFile, MetsObject, Part, read_mets
from perdura.packages.opening import open_container
from perdura.packages.source import ByteSource, TreeSource

_PLACES = (
    (re.compile(r"data/metadata/METS\.xml"), "data/"),
    (re.compile(r"data/METS\.[0-9a-f-]{36}\.xml"), "data/"),
    (re.compile(r"(data/[^/]+/)(METS\.xml|metadata/preservation/premis\.xml)"), None),
    (re.compile(r"(data/[^/]+/representations/[^/]+/)(METS\.xml|metadata/preservation/premis\.xml)"), None),
)


@dataclass(frozen=True, slots=True)
class OpenAip:
    """An open AIP: its container, its bag, and the documents that describe it as (path, base of their links)."""

    container: Container
    layout: Layout
    documents: tuple[tuple[str, str], ...]

    def parts(self) -> Iterator[tuple[str, Part]]:
        """(base of links, part) of every document in turn; an element is good until the next is asked for."""
        for path, base in self.documents:
            for part in read_mets(self.container.read(self.layout.index[path])):
                yield base, part

    def events(self) -> Iterator[MetsEvent]:
        """Every PREMIS event."""
        for _, part in self.parts():
            if isinstance(part, MetsEvent):
                yield part


@dataclass(frozen=True, slots=True)
class AipFile:
    """One file that an AIP describes."""

    path: str
    use: str
    size: int | None
    digests: dict[str, str] = field(default_factory=dict)
    format_name: str | None = None
    format_key: str | None = None


def open_aip(source: ByteSource | TreeSource) -> OpenAip:
    """Open an AIP where it lies; raises Rejected for what is none."""
    container = open_container(source, AIP_LIMITS)
    layout = find_bag(container, Findings(AIP_LIMITS), AIP_LIMITS)
    documents = documents_of(layout.index)
    if not documents:
        raise Rejected("the bag has no METS: it is no AIP", code="no-mets")
    return OpenAip(container, layout, documents)


def documents_of(paths: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The documents that describe an AIP, among all its paths: (path, base of their links) each."""
    documents = []
    for path in paths:
        for pattern, base in _PLACES:
            if found := pattern.fullmatch(path):
                documents.append((path, base if base is not None else found[1]))
                break
    return tuple(sorted(documents))


def files_of(aip: OpenAip) -> dict[str, AipFile]:
    """Every file that the METS lists, by its path in the bag."""
    sections: dict[str, MetsObject] = {}
    names: dict[str, MetsObject] = {}
    listed: list[tuple[str, MetsFile]] = []
    for base, part in aip.parts():
        if isinstance(part, MetsObject) and part.kind == "file":
            sections[f"{base} {part.section}"] = part
            names |= {value: part for _, value in part.identifiers}
        elif isinstance(part, MetsFile):
            listed.append((base, part))
    found = {}
    for base, file in listed:
        own = file.id.removeprefix("file-").removeprefix("ID")
        about = next((sections[f"{base} {each}"] for each in file.sections if f"{base} {each}" in sections), None)
        about = about or names.get(own.removeprefix("-")) or names.get(own)
        path = base + file.href
        found[path] = AipFile(
            path,
            file.use,
            about.size if about else None,
            dict(about.digests) if about else {},
            about.format_name if about else None,
            about.format_key if about else None,
        )
    return found


def agents_of(aip: OpenAip) -> list[str]:
    """Names of all agents, each once."""
    names: dict[str, None] = {}
    for _, part in aip.parts():
        if isinstance(part, MetsAgent):
            names[" ".join((part.element.findtext("{*}agentName") or "").split())] = None
    return [name for name in names if name]


@dataclass(frozen=True, slots=True)
class Difference:
    """One file in which two AIPs differ: `kind` is added, removed, changed, moved or format."""

    kind: str
    path: str
    was: str | None = None
    detail: str = ""


def differences(old: dict[str, AipFile], new: dict[str, AipFile]) -> list[Difference]:
    """How the files of one AIP differ from those of another: by digest, so that a new name is no new content."""
    found: list[Difference] = []
    gone = {path: file for path, file in old.items() if path not in new}
    by_digest: dict[str, list[str]] = {}
    for path, file in sorted(gone.items()):
        if digest := _digest(file):
            by_digest.setdefault(digest, []).append(path)
    for path, file in sorted(new.items()):
        before = old.get(path)
        if before is None:
            moved = by_digest.get(_digest(file) or "")
            if moved:
                was = moved.pop(0)
                del gone[was]
                found.append(Difference("moved", path, was))
            else:
                found.append(Difference("added", path))
        elif _digest(before) != _digest(file):
            found.append(Difference("changed", path, detail=f"{before.size} to {file.size} bytes"))
        elif before.format_key != file.format_key:
            found.append(Difference("format", path, detail=f"{before.format_key} to {file.format_key}"))
    found += [Difference("removed", path) for path in sorted(gone)]
    return found


def _digest(file: AipFile) -> str | None:
    return file.digests.get("sha256") or file.digests.get("sha512")
