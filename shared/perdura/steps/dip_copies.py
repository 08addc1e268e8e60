"""Which copy of a file goes into a DIP: the original, what was made of it for access, or what it was migrated to.

The METS of the AIP says so: by the use of a file group (as Archivematica writes it), and by the relationship
*derivation*, *has source* of PREMIS, which our own engine writes for migrated files (archivematica.md 7.3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from perdura.errors import Rejected
from perdura.outcome import Package
from perdura.packages.aip_index import Entry
from perdura.packages.aip_read import documents_of
from perdura.packages.mets_read import MetsFile, MetsObject, Part, read_mets
from perdura.steps.stored_package import pinned
from perdura.storage.store import Store

_NO_OBJECTS = frozenset({"submissionDocumentation", "metadata", "license", "thumbnails"})
_ACCESS = frozenset({"access", "service"})


@dataclass(frozen=True, slots=True)
class Described:
    """A file of the METS: its path in the AIP, its use, its identifiers, and those of what it was made from."""

    path: str
    use: str
    identifiers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def role(self) -> str:
        """`original`, `access` or `normalised`; every derivative that is not for access counts as the last."""
        if self.use in _ACCESS:
            return "access"
        return "normalised" if self.use == "preservation" or self.sources else "original"


def chosen_copies(aip: Package, entries: Iterable[Entry], wanted: str, store: Store) -> Collection[str]:
    """Paths of the files that a policy wants; raises Rejected when the AIP has no METS that could tell."""
    documents = documents_of(entry.member.path for entry in entries)
    if not documents:
        raise Rejected("This AIP has no METS that tells originals from copies.", code="dip-no-mets")
    named = {path for path, _ in documents}
    members = {entry.member.path: entry.member for entry in entries if entry.member.path in named}
    ref = pinned(aip)

    def parts() -> Iterator[tuple[str, Part]]:
        for path, base in documents:
            for part in read_mets(store.stream(ref, members[path].offset, members[path].size)):
                yield base, part

    return choose_copies(described(parts()), wanted)


def described(parts: Iterable[tuple[str, Part]]) -> list[Described]:
    """The files that the documents of an AIP list, with what PREMIS says of each; (base of links, part) each.

    E-ARK packages have their PREMIS in documents of their own, where an object is found by its identifier.
    """
    sections: dict[tuple[str, str], MetsObject] = {}
    named: dict[str, MetsObject] = {}
    listed: list[tuple[str, MetsFile]] = []
    for base, part in parts:
        if isinstance(part, MetsObject) and part.kind == "file":
            sections.setdefault((base, part.section), part)
            named |= {value: part for _, value in part.identifiers}
        elif isinstance(part, MetsFile) and part.use not in _NO_OBJECTS:
            listed.append((base, part))
    files: list[Described] = []
    for base, file in listed:
        about = next((sections[base, section] for section in file.sections if (base, section) in sections), None)
        about = about or named.get(file.id.removeprefix("file-").removeprefix("ID-"))
        identifiers = tuple(value for _, value in about.identifiers) if about else ()
        files.append(Described(f"{base}{file.href}", file.use, identifiers, about.sources if about else ()))
    return files


def choose_copies(files: Sequence[Described], wanted: str) -> Collection[str]:
    """`originals`, or for each original its copies for `access`, or the last it was `normalised` to, else itself.

    What was made of a file that is not in the package stands for itself.
    """
    by_identifier = {identifier: file for file in files for identifier in file.identifiers}
    made_of: Mapping[str, list[Described]] = _by_source(files, by_identifier)
    kept: set[str] = set()
    for file in files:
        if any(source in by_identifier for source in file.sources):
            continue
        if wanted == "originals":
            kept.update([file.path] if file.role == "original" else [])
            continue
        copies = _descendants(file, made_of)
        last = [each for each in copies if each.role == wanted and not _goes_on(each, wanted, made_of)]
        kept.update(each.path for each in last or [file])
    return kept


def _by_source(files: Sequence[Described], known: Mapping[str, Described]) -> Mapping[str, list[Described]]:
    made_of: dict[str, list[Described]] = defaultdict(list)
    for file in files:
        for source in file.sources:
            if source in known:
                made_of[known[source].path].append(file)
    return made_of


def _descendants(file: Described, made_of: Mapping[str, list[Described]]) -> Sequence[Described]:
    """Everything that was made of a file, however often; a circle ends where it began."""
    found: dict[str, Described] = {}
    waiting = list(made_of.get(file.path, ()))
    while waiting:
        each = waiting.pop()
        if each.path not in found and each.path != file.path:
            found[each.path] = each
            waiting += made_of.get(each.path, ())
    return list(found.values())


def _goes_on(file: Described, role: str, made_of: Mapping[str, list[Described]]) -> bool:
    return any(each.role == role for each in made_of.get(file.path, ()))
