"""Guesses, while a stream that can be read only once goes by, which digests will be needed (packages.md 5.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdura.packages.digest_table import DigestTable
from perdura.packages.manifests import ALGORITHMS, manifest_kind
from perdura.packages.tar_records import TarMember
from perdura.storage.digests import Digests

_LIKELY = ("sha256", "sha512")


class Foresight:
    """Digests files of a tar.gz during its survey: by the manifests that came by first, else by the likely ones."""

    def __init__(self, extra: tuple[str, ...], members: int) -> None:
        """For at most so many members."""
        self._members = members
        self._extra = extra
        self._payload: list[str] = []
        self._tags: list[str] = []
        self._tables: dict[str, DigestTable] = {}
        self._begun: tuple[int, Digests] | None = None
        self._last = -1

    def observe(self, index: int, member: TarMember) -> Callable[[memoryview], None] | None:
        """Gives what takes the bytes of the file, until it is asked for the next one."""
        self._finish()
        if member.is_directory:
            return None
        inside = member.path if member.path.startswith("data/") else member.path.partition("/")[2] or member.path
        kind = manifest_kind(inside)
        if kind is not None and kind[1] in ALGORITHMS:
            (self._tags if kind[0] else self._payload).append(kind[1])
        expected: tuple[str, ...] = (*_LIKELY, *self._tags)
        if inside.startswith("data/"):
            expected = tuple(self._payload) or _LIKELY
        digests = Digests((*expected, *self._extra))
        self._begun, self._last = (index, digests), index
        return digests.update

    def digests(self, index: int, algorithms: Sequence[str]) -> list[bytes] | None:
        """The digests of a member, None when not all of them were foreseen."""
        if index > self._last:
            return None
        self._finish()
        tables = [self._tables[name] for name in algorithms if name in self._tables]
        if len(tables) < len(algorithms) or any(index not in table for table in tables):
            return None
        return [table[index] for table in tables]

    def _finish(self) -> None:
        if self._begun is None:
            return
        index, digests = self._begun
        self._begun = None
        for name, value in digests.hexdigests().items():
            self._tables.setdefault(name, DigestTable(name, self._members))[index] = bytes.fromhex(value)
