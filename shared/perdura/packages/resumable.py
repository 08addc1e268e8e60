"""SHA-2, SHA-1 and MD5 digests that can be put down and taken up again by another process (packages.md 4.3).

A digest over an object of any size then fits into invocations of ten minutes. libcrypto still exports the functions
that work on a plain struct owned by the caller; the state is saved in a portable form, at whole blocks only: the chain
values and the length, no padding, no byte order of the machine. A self-test at first use decides whether this works
here; where it does not, `available()` says so and a digest has to be made without a stop (`WholeDigest`).
"""

from __future__ import annotations

import _hashlib
import ctypes
import ctypes.util
import hashlib
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from perdura.errors import Broken

_FORMAT = 1
_HEAD = struct.Struct(">8sBQ")
_CANARY = 0xA5
_ROOM = 512


@dataclass(frozen=True, slots=True)
class _Kind:
    """One digest: names of its functions, block and digest size in bytes, word size, bytes of the C struct, words."""

    name: str
    function: str
    block: int
    digest: int
    word: int
    struct_size: int
    words: int = 8


_KINDS = {
    "md5": _Kind("md5", "MD5", 64, 16, 4, 92, 4),
    "sha1": _Kind("sha1", "SHA1", 64, 20, 4, 96, 5),
    "sha224": _Kind("sha224", "SHA224", 64, 28, 4, 112),
    "sha256": _Kind("sha256", "SHA256", 64, 32, 4, 112),
    "sha384": _Kind("sha384", "SHA384", 128, 48, 8, 216),
    "sha512": _Kind("sha512", "SHA512", 128, 64, 8, 216),
}

ALGORITHMS = tuple(_KINDS)
"""Digests that can be resumed where libcrypto allows it."""


class ResumableDigest:
    """A digest in progress whose state can be saved whenever `length` is a multiple of `block`."""

    def __init__(self, algorithm: str) -> None:
        """Raises Broken when this machine cannot do it: ask `available` first."""
        if not available(algorithm):
            raise Broken(f"{algorithm} cannot be resumed here", code="not-resumable")
        self._start(_KINDS[algorithm], _functions(_KINDS[algorithm]))

    def _start(self, kind: _Kind, functions: tuple[Any, Any, Any]) -> None:
        self._kind = kind
        init, self._update, self._final = functions
        self._context = (ctypes.c_ubyte * _ROOM)()
        self.length = 0
        init(self._context)

    @property
    def block(self) -> int:
        """Bytes of one block: the state can be saved at its multiples."""
        return self._kind.block

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take more bytes; `bytes` and writable buffers are not copied."""
        size = len(data)
        if size == 0:
            return
        pointer: Any = data
        if not isinstance(data, bytes):
            view = memoryview(data).cast("B")
            pointer = bytes(view) if view.readonly else (ctypes.c_ubyte * size).from_buffer(view)
        self._update(self._context, pointer, size)
        self.length += size

    def digest(self) -> bytes:
        """Digest of everything taken; more may be taken afterwards."""
        copy = (ctypes.c_ubyte * _ROOM)()
        ctypes.memmove(copy, self._context, _ROOM)
        out = (ctypes.c_ubyte * self._kind.digest)()
        self._final(out, copy)
        return bytes(out)

    def hexdigest(self) -> str:
        """The same as lower-case hex."""
        return self.digest().hex()

    def save(self) -> bytes:
        """The state: algorithm, format, length and chain values, big-endian, with a CRC-32 of it all.

        Raises Broken when the length is not a multiple of the block.
        """
        if self.length % self._kind.block:
            raise Broken("a digest is saved at whole blocks only", code="not-resumable")
        words = struct.unpack_from(f"={self._kind.words}{_letter(self._kind)}", self._context)
        record = _HEAD.pack(self._kind.name.encode(), _FORMAT, self.length) + struct.pack(
            f">{self._kind.words}{_letter(self._kind)}", *words
        )
        return record + zlib.crc32(record).to_bytes(4, "big")

    @classmethod
    def restore(cls, state: bytes) -> ResumableDigest:
        """Go on from a saved state; raises Broken for a state that is damaged or of another format."""
        record, crc = state[:-4], state[-4:]
        if len(record) < _HEAD.size or zlib.crc32(record).to_bytes(4, "big") != crc:
            raise Broken("the saved state of a digest is damaged", code="digest-state")
        name, version, length = _HEAD.unpack_from(record)
        kind = _KINDS.get(name.rstrip(b"\0").decode("ascii", "replace"))
        if kind is None or version != _FORMAT or len(record) != _HEAD.size + kind.words * kind.word:
            raise Broken("the saved state of a digest is of another format", code="digest-state")
        digest = cls(kind.name)
        digest._load(record[_HEAD.size :], length)
        return digest

    def _load(self, chain: bytes, length: int) -> None:
        kind = self._kind
        words = struct.unpack(f">{kind.words}{_letter(kind)}", chain)
        bits = length * 8
        half = kind.word * 8
        counters = (bits & (1 << half) - 1, bits >> half)
        struct.pack_into(f"={kind.words + 2}{_letter(kind)}", self._context, 0, *words, *counters)
        self.length = length


@cache
def available(algorithm: str) -> bool:
    """Whether digests of that algorithm can be saved and restored on this machine (the self-test passed)."""
    kind = _KINDS.get(algorithm)
    if kind is None:
        return False
    try:
        return _self_test(kind)
    except (OSError, AttributeError, ValueError, struct.error):
        return False


def _letter(kind: _Kind) -> str:
    return "I" if kind.word == 4 else "Q"


@cache
def _library() -> ctypes.CDLL:
    # The one that Python itself uses, also where it is linked into it: finding another starts processes.
    own = ctypes.CDLL(getattr(_hashlib, "__file__", None))
    if hasattr(own, "SHA512_Update"):
        return own
    name = ctypes.util.find_library("crypto")
    if name is None:
        raise OSError("there is no libcrypto here")
    return ctypes.CDLL(name)


def _functions(kind: _Kind) -> tuple[Any, Any, Any]:
    library = _library()
    init = getattr(library, f"{kind.function}_Init")
    update = getattr(library, f"{kind.function}_Update")
    final = getattr(library, f"{kind.function}_Final")
    init.argtypes = [ctypes.c_void_p]
    update.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    final.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    for function in (init, update, final):
        function.restype = ctypes.c_int
    return init, update, final


def _self_test(kind: _Kind) -> bool:
    """Struct layout by canary, a known vector, and cuts at and around block borders against `hashlib`."""
    functions = _functions(kind)
    context = (ctypes.c_ubyte * _ROOM)(*([_CANARY] * _ROOM))
    functions[0](context)
    functions[1](context, b"x" * (kind.block + 1), kind.block + 1)
    touched = max(place for place in range(_ROOM) if context[place] != _CANARY) + 1
    if touched > kind.struct_size:
        return False
    data = hashlib.shake_128(b"perdura").digest(5 * kind.block + 17)
    for cut in (0, kind.block, 2 * kind.block, 5 * kind.block):
        for step in (1, kind.block - 9, kind.block - 1, kind.block, kind.block + 1):
            first = _raw(kind, functions)
            for start in range(0, cut, step):
                first.update(data[start : min(start + step, cut)])
            second = _raw(kind, functions)
            state = first.save()
            second._load(state[_HEAD.size : -4], cut)
            second.update(data[cut:])
            if second.digest() != hashlib.new(kind.name, data).digest():
                return False
    return True


def _raw(kind: _Kind, functions: tuple[Any, Any, Any]) -> ResumableDigest:
    digest = ResumableDigest.__new__(ResumableDigest)
    digest._start(kind, functions)
    return digest
