"""The digests of one member of an AIP, packed: 100,000 files must not cost 100,000 dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

ALGORITHMS = ("sha256", "sha512", "adler32")
"""What is kept of every member: both manifests' algorithms, and tape's (packages.md §0.6)."""

PACKED = 100
"""Bytes that they take."""

SHA256_ALONE = 32
"""Bytes of the first of them, where the others are not kept."""

_PLACES = {"sha256": slice(0, 32), "sha512": slice(32, 96), "adler32": slice(96, 100)}


class MemberDigests(Mapping[str, str]):
    """Algorithm → lower-case hex, held in 100 bytes; in 32 where nothing but the SHA-256 is kept."""

    __slots__ = ("_packed",)

    def __init__(self, sha256: bytes, sha512: bytes, adler32: int) -> None:
        self._packed = sha256 + sha512 + adler32.to_bytes(4)

    @classmethod
    def of_hex(cls, digests: Mapping[str, str]) -> MemberDigests:
        """Pack digests given as hex under `sha256`, `sha512` and `adler32`; raises KeyError, ValueError."""
        return cls(bytes.fromhex(digests["sha256"]), bytes.fromhex(digests["sha512"]), int(digests["adler32"], 16))

    @classmethod
    def of_packed(cls, packed: bytes) -> MemberDigests:
        """What `packed` gave, or the beginning of it."""
        digests = cls.__new__(cls)
        digests._packed = packed
        return digests

    @property
    def packed(self) -> bytes:
        """SHA-256, SHA-512 and ADLER32, one after the other."""
        return self._packed

    def __getitem__(self, algorithm: str) -> str:
        place = _PLACES[algorithm]
        if place.stop > len(self._packed):
            raise KeyError(algorithm)
        return self._packed[place].hex()

    def __iter__(self) -> Iterator[str]:
        return (name for name, place in _PLACES.items() if place.stop <= len(self._packed))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"MemberDigests({dict(self)!r})"
