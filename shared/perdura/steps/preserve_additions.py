"""What a new version of an AIP has that its submission had not: files added, migrated or replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perdura.errors import NotStored, Rejected
from perdura.packages.layout import Layout
from perdura.storage.store import ObjectRef, Store


@dataclass(frozen=True, slots=True)
class Addition:
    """One file: its path below the objects, where its bytes lie, and the path of the file it was made from."""

    path: str
    bucket: str
    key: str
    size: int
    sha256: str
    derived_from: str | None = None


def additions_of(step_input: Mapping[str, Any]) -> tuple[Addition, ...]:
    """The additions that a step was asked for, in the order of their paths; raises Rejected for impossible ones."""
    found = tuple(
        Addition(
            str(each["path"]),
            str(each["bucket"]),
            str(each["key"]),
            int(each["size"]),
            str(each["sha256"]),
            each.get("derived_from"),
        )
        for each in step_input.get("additions") or ()
    )
    if len({each.path for each in found}) != len(found):
        raise Rejected("a file is added twice", code="file-twice")
    return tuple(sorted(found, key=lambda each: each.path))


def replaced(additions: Sequence[Addition], layout: Layout) -> frozenset[str]:
    """Payload paths (`data/…`) of the submission that additions take the place of.

    Raises Rejected for an addition where a folder is, below a file, or made from a file that there is not.
    """
    if not additions:
        return frozenset()
    added = {f"data/{each.path}" for each in additions}
    folders = {folder for path in added for folder in _above(path)}
    files = added | layout.index.keys()
    for path in sorted((folders & files) | (added & layout.directories)):
        raise Rejected(f"{path} would be both a file and a folder", code="file-and-folder")
    for each in additions:
        source = each.derived_from
        if source is not None and (source == each.path or f"data/{source}" not in files):
            raise Rejected(f"{each.path} is said to be made from {source}, which there is not", code="no-such-source")
    return frozenset(added & layout.index.keys())


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def bytes_of(addition: Addition, store: Store) -> Iterator[memoryview]:
    """The bytes of an addition; raises Rejected when they are no longer there."""
    try:
        yield from store.stream(ObjectRef(addition.bucket, addition.key))
    except NotStored as error:
        raise Rejected(f"the bytes of {addition.path} are not in the store", code="addition-missing") from error


def changes(additions: Sequence[Addition]) -> tuple[str, ...]:
    """Notes of the event that tells of them."""
    return tuple(
        f"{each.path} made from {each.derived_from}" if each.derived_from else f"{each.path} added"
        for each in additions
    )
