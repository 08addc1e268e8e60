"""Digests computed in one pass over a stream: the table of algorithms, and accelerated checksums with fallbacks.

Names are those of BagIt manifests (RFC 8493 2.4: lower case, no punctuation) plus `adler32` (tape, FTS) and `crc32`
(zip). Algorithms come from this table only, never from `hashlib.algorithms_available` (packages.md M8).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from perdura.errors import Broken

Buffer = bytes | bytearray | memoryview

try:
    from zlib_ng.zlib_ng import adler32 as _adler32
except ImportError:
    _adler32 = zlib.adler32
try:
    from isal.isal_zlib import crc32 as _crc32
except ImportError:
    _crc32 = zlib.crc32

adler32: Callable[[Buffer, int], int] = _adler32
crc32: Callable[[Buffer, int], int] = _crc32


class Digest(Protocol):
    """One digest in progress, as `hashlib` objects are."""

    def update(self, data: Buffer, /) -> None:
        """Take more bytes."""
        ...

    def digest(self) -> bytes:
        """Digest of everything taken."""
        ...

    def hexdigest(self) -> str:
        """The same as lower-case hex."""
        ...


class Maker(Protocol):
    """Begins a digest, with some first bytes."""

    def __call__(self, data: Buffer = b"", /) -> Digest: ...


class _Adler32:
    def __init__(self, data: Buffer = b"", /) -> None:
        self._value = adler32(data, 1)

    def update(self, data: Buffer, /) -> None:
        self._value = adler32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


class _Crc32:
    def __init__(self, data: Buffer = b"", /) -> None:
        self._value = crc32(data, 0)

    def update(self, data: Buffer, /) -> None:
        self._value = crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


_MAKERS: dict[str, Maker] = {
    "md5": partial(hashlib.md5, usedforsecurity=False),
    "sha1": partial(hashlib.sha1, usedforsecurity=False),
    "sha224": hashlib.sha224,
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
    "sha3224": hashlib.sha3_224,
    "sha3256": hashlib.sha3_256,
    "sha3384": hashlib.sha3_384,
    "sha3512": hashlib.sha3_512,
    "blake2b512": hashlib.blake2b,
    "blake2s256": hashlib.blake2s,
    "adler32": _Adler32,
    "crc32": _Crc32,
}

HEX_LENGTHS: dict[str, int] = {name: len(make().hexdigest()) for name, make in _MAKERS.items()}
"""Hex digits of each algorithm's digest; its keys are all the algorithms there are."""

CHECKSUMS = frozenset({"adler32", "crc32"})
"""Algorithms that find accidents only; no manifest of BagIt has them."""

WEAK = frozenset({"md5", "sha1"}) | CHECKSUMS
"""Algorithms that no longer prove that nobody chose the bytes."""


def new_digest(algorithm: str) -> Digest:
    """A fresh digest of that algorithm; raises Broken for a name that is not in the table."""
    return maker(algorithm)()


def maker(algorithm: str) -> Maker:
    """What begins digests of that algorithm; raises Broken for a name that is not in the table."""
    try:
        return _MAKERS[algorithm]
    except KeyError:
        raise Broken(f"there is no digest algorithm called {algorithm!r}", code="unknown-algorithm") from None


class Digests:
    """Several digests over the same bytes."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._digests = {name: new_digest(name) for name in dict.fromkeys(algorithms)}

    def update(self, data: Buffer) -> None:
        """Take more bytes into every digest."""
        for digest in self._digests.values():
            digest.update(data)

    def hexdigests(self) -> dict[str, str]:
        """Algorithm -> lower-case hex."""
        return {name: digest.hexdigest() for name, digest in self._digests.items()}


_ADLER_BASE = 65521


def combine_adler32(first: int, second: int, second_length: int) -> int:
    """Adler-32 of a concatenation from those of its parts (packages.md 4.2); lengths in bytes."""
    a1, b1 = first & 0xFFFF, first >> 16
    a2, b2 = second & 0xFFFF, second >> 16
    low = (a1 + a2 - 1) % _ADLER_BASE
    high = (b1 + b2 + second_length * (a1 - 1)) % _ADLER_BASE
    return high << 16 | low
