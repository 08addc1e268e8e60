"""Guesses, while a stream that can be read only once goes by, which digests will be needed (packages.md 5.4)."""

from __future__ import annotations

from collections.abc import Callable

from perdura.packages.manifests import ALGORITHMS, manifest_kind
from perdura.packages.tar_records import TarMember
from perdura.storage.digests import Digests

_LIKELY = ("sha256", "sha512")


class Foresight:
    """Digests files of a tar.gz during its survey: by the manifests that came by first, else by the likely ones."""

    def __init__(self, extra: tuple[str, ...]) -> None:
        self._extra = extra
        self._payload: list[str] = []
        self._tags: list[str] = []
        self._seen: dict[int, Digests] = {}

    def observe(self, index: int, member: TarMember) -> Callable[[memoryview], None] | None:
        """Gives what takes the bytes of the file."""
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
        self._seen[index] = digests
        return digests.update

    @property
    def digests(self) -> dict[int, dict[str, bytes]]:
        """Member index -> algorithm -> digest."""
        return {
            index: {name: bytes.fromhex(value) for name, value in digests.hexdigests().items()}
            for index, digests in self._seen.items()
        }
