"""Makes BagIt 1.0 bags out of a tree of files, as a tar stream, a zip stream or a directory (packages.md 6)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Protocol

from perdura.errors import Conflict, ObjectChanged, Rejected
from perdura.packages.digesting import digest
from perdura.packages.limits import LIMITS, Limits
from perdura.packages.manifests import ALGORITHMS, encode_path
from perdura.packages.names import PlainNames, member_path
from perdura.packages.rules import PackageRejected
from perdura.packages.source import TreeSource
from perdura.packages.tar_ranges import Entry
from perdura.packages.tree_reader import TreeContainer
from perdura.storage.digests import new_digest

AGENT = "Perdura"
_DESCRIBING = 2
"""Tag files of every bag beside the manifests: its declaration and bag-info.txt."""
_DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


class ArchiveWriter(Protocol):
    """What `TarWriter` and `ZipWriter` have in common."""

    def add(self, path: str, size: int, chunks: Iterable[bytes | memoryview], crc32: int | None = None) -> object:
        """Write a file of exactly `size` bytes and of that CRC-32."""
        ...

    def finish(self) -> int:
        """Write the end; gives the size of the archive."""
        ...


@dataclass(frozen=True, slots=True)
class BagPlan:
    """A bag to be written: tag files with their bytes, then payload files by path, size and digests.

    `tag_files` come in the order of packages.md 6: declaration, bag-info, manifests, tag manifests.
    """

    tag_files: tuple[tuple[str, bytes], ...]
    payload: tuple[PlannedFile, ...]

    @property
    def files(self) -> int:
        """Number of payload files."""
        return len(self.payload)

    @property
    def bytes(self) -> int:
        """Bytes of payload."""
        return sum(planned.size for planned in self.payload)


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One payload file: path in the bag, path in the source, size in bytes, algorithm -> hex digest, CRC-32."""

    path: str
    source_path: str
    size: int
    checksums: dict[str, str]
    crc32: int = 0


def plan_bag(
    source: TreeSource,
    *,
    algorithms: Sequence[str] = ("sha256", "sha512"),
    bag_info: Sequence[tuple[str, str]] = (),
    bagging_date: date | None = None,
    limits: Limits = LIMITS,
    progress: Callable[[int, int], None] | None = None,
    base: str = "",
) -> BagPlan:
    """Hash every file of the tree on all processors and lay out the bag that holds them below `data/`.

    Empty directories are kept by an empty `.keep` (RFC 8493 2.1.3); `base` is the folder that holds the bag in an
    archive. Raises PackageRejected for names or file types that no bag of ours may have, or more of them than one may
    have, Rejected for an unknown algorithm.
    """
    unknown = [name for name in algorithms if name not in ALGORITHMS]
    if unknown or not algorithms:
        raise Rejected(f"no such manifest algorithm: {', '.join(unknown) or 'none given'}", code="unknown-algorithm")
    container = TreeContainer(source, limits)
    names = tuple(dict.fromkeys(algorithms))
    places = [f"data/{each.path}/.keep" if each.is_directory else f"data/{each.path}" for each in container.members]
    _check_places(places, base, _DESCRIBING + 2 * len(names), limits)
    digests: dict[int, Sequence[bytes]] = {}
    total, done = container.stored_size, 0

    def report(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(min(done, total), total)

    digest(container, lambda _: (*names, "crc32"), lambda _: True, digests.__setitem__, report)
    payload = [
        _planned(places[index], member.path, member.size, names, digests[index])
        if not member.is_directory
        else _placeholder(places[index], names)
        for index, member in enumerate(container.members)
    ]
    payload.sort(key=lambda planned: planned.path.encode())
    return BagPlan(_tag_files(payload, names, bag_info, bagging_date or date.today()), tuple(payload))


def _check_places(places: Sequence[str], base: str, tags: int, limits: Limits) -> None:
    """Raise PackageRejected for what would be refused where the bag is verified: before anything is read for it."""
    if len(places) + tags > limits.members:
        raise PackageRejected("limit-members", detail=f"{limits.members} are accepted")
    plain, prefix = PlainNames(limits), f"{base}/" if base else ""
    for place in places:
        member_path(prefix + place, limits, plain)


def _planned(path: str, source_path: str, size: int, names: Sequence[str], values: Sequence[bytes]) -> PlannedFile:
    *digests, crc32 = values
    checksums = {name: value.hex() for name, value in zip(names, digests, strict=True)}
    return PlannedFile(path, source_path, size, checksums, int.from_bytes(crc32, "big"))


def _placeholder(path: str, names: Sequence[str]) -> PlannedFile:
    return PlannedFile(path, "", 0, {name: new_digest(name).hexdigest() for name in names})


def _tag_files(
    payload: Sequence[PlannedFile], names: Sequence[str], bag_info: Sequence[tuple[str, str]], day: date
) -> tuple[tuple[str, bytes], ...]:
    size = sum(planned.size for planned in payload)
    elements = [
        ("Bagging-Date", day.isoformat()),
        ("Bag-Software-Agent", AGENT),
        ("Payload-Oxum", f"{size}.{len(payload)}"),
    ]
    given = {label.lower() for label, _ in bag_info}
    elements = [element for element in elements if element[0].lower() not in given] + list(bag_info)
    files = [("bagit.txt", _DECLARATION), ("bag-info.txt", "".join(map(_element, elements)).encode())]
    for name in names:
        lines = (f"{planned.checksums[name]}  {encode_path(planned.path)}\n" for planned in payload)
        files.append((f"manifest-{name}.txt", "".join(lines).encode()))
    protected = list(files)
    for name in names:
        lines = (f"{_hex(name, data)}  {encode_path(path)}\n" for path, data in protected)
        files.append((f"tagmanifest-{name}.txt", "".join(lines).encode()))
    return tuple(files)


def _hex(name: str, data: bytes) -> str:
    one = new_digest(name)
    one.update(data)
    return one.hexdigest()


def _element(element: tuple[str, str]) -> str:
    label, value = element
    if not label or label != label.strip() or any(c in label for c in ":\r\n"):
        raise Rejected(f"{label[:80]!r} cannot be the label of a bag-info element", code="bag-info-label")
    return f"{label}: {' '.join(value.split())}\n"


def write_archive(plan: BagPlan, source: TreeSource, archive: ArchiveWriter, base: str) -> int:
    """Stream the bag into an archive, below the directory `base`; gives the archive's size in bytes.

    Payload is hashed again on the way: raises ObjectChanged when a file is no longer what was planned.
    """
    prefix = f"{base}/" if base else ""
    for path, data in plan.tag_files:
        archive.add(prefix + path, len(data), (data,))
    for planned in plan.payload:
        archive.add(prefix + planned.path, planned.size, _bytes_of(planned, source), planned.crc32)
    return archive.finish()


def tar_entries(plan: BagPlan, source: TreeSource, base: str) -> list[Entry]:
    """The members of the tar that `write_archive` writes, for a `RangedTar`."""
    return [
        *(Entry(f"{base}/{path}", len(data), data) for path, data in plan.tag_files),
        *(
            Entry(f"{base}/{planned.path}", planned.size, partial(source.stream, planned.source_path))
            for planned in plan.payload
        ),
    ]


def write_directory(plan: BagPlan, source: TreeSource, target: Path) -> None:
    """Write the bag as a new directory; raises Conflict when it exists, ObjectChanged as `write_archive`."""
    try:
        target.mkdir()
    except FileExistsError:
        raise Conflict(f"{target.name!r} is already there") from None
    for planned in plan.payload:
        place = target / planned.path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as out:
            for chunk in _bytes_of(planned, source):
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
    (target / "data").mkdir(exist_ok=True)
    for path, data in plan.tag_files:
        (target / path).write_bytes(data)


def _bytes_of(planned: PlannedFile, source: TreeSource) -> Iterator[memoryview]:
    if not planned.source_path:
        return
    name, expected = next(iter(planned.checksums.items()))
    again, size = new_digest(name), 0
    for chunk in source.stream(planned.source_path):
        again.update(chunk)
        size += len(chunk)
        if size > planned.size:
            break
        yield chunk
    if size != planned.size or again.hexdigest() != expected:
        raise ObjectChanged(f"{planned.source_path!r} was changed while the bag was being made")
