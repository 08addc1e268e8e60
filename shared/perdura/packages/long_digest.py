"""Digests of one long run of bytes, continued from invocation to invocation (packages.md 4.3)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from perdura.errors import Broken, ObjectChanged
from perdura.packages import resumable
from perdura.packages.rules import PackageRejected
from perdura.storage.digests import adler32, crc32, new_digest

_SUMS: dict[str, tuple[Callable[[Any, int], int], int]] = {"adler32": (adler32, 1), "crc32": (crc32, 0)}
SAVED_AT = 128
"""A multiple of every block: states can be saved at its multiples."""


@dataclass(frozen=True, slots=True)
class LongState:
    """How far the digests of a run of bytes are: `offset` bytes were taken; `digests` only when all were.

    `states` maps algorithms to what `LongDigest` needs to go on; as JSON values, so that a registry can keep it.
    """

    offset: int
    states: Mapping[str, str]
    digests: Mapping[str, bytes] | None = None

    def to_json(self) -> dict[str, Any]:
        """The checkpoint."""
        return {"offset": self.offset, "states": dict(self.states)}


START = LongState(0, {})


def resumes(algorithms: tuple[str, ...]) -> bool:
    """Whether all these digests can be put down and taken up again on this machine."""
    return all(name in _SUMS or resumable.available(name) for name in algorithms)


def continued(
    read: Callable[[int], Iterator[memoryview]],
    size: int,
    algorithms: tuple[str, ...],
    state: LongState,
    near: Callable[[], bool],
    progress: Callable[[int], None],
    *,
    stops: bool = True,
) -> LongState:
    """Go on from a state until all `size` bytes are taken or `near` says that time is up.

    `read` gives the bytes from an offset on. Where a digest cannot be resumed here, or the bytes cannot be entered in
    the middle (`stops` is False), it is made without a stop; raises Broken when the time does not suffice for that,
    ObjectChanged when there are fewer or more bytes.
    """
    digest = LongDigest(algorithms, state if stops else START, stops=stops)
    for chunk in read(digest.offset):
        reached = digest.offset + len(chunk)
        beyond = reached % SAVED_AT
        if reached < size and beyond < len(chunk) and near():
            # What lies beyond the last place where states can be saved is read again.
            digest.update(chunk[: len(chunk) - beyond])
            progress(digest.offset)
            return digest.state()
        digest.update(chunk)
        progress(reached)
    if digest.offset != size:
        raise ObjectChanged("a file was changed while it was being read")
    return LongState(digest.offset, {}, digest.digests())


class LongDigest:
    """Several digests of one run of bytes, begun or taken up again; `offset` bytes were taken."""

    def __init__(self, algorithms: tuple[str, ...], state: LongState = START, *, stops: bool = True) -> None:
        """Go on from a state, or from the start where a digest cannot be resumed here or `stops` is False."""
        self._stops = stops and resumes(algorithms)
        state = state if self._stops else START
        self.offset = state.offset
        self._takers = {name: _taker(name, state, resumed=self._stops) for name in algorithms}

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take more bytes."""
        for taker in self._takers.values():
            taker.update(chunk)
        self.offset += len(chunk)

    def state(self) -> LongState:
        """How far it is, at a multiple of `SAVED_AT` only; raises Broken where it cannot be taken up again."""
        if not self._stops:
            raise Broken(
                "a file is too long to be verified within one invocation, and its digests cannot be continued "
                "here: give PERDURA_INVOCATION_SECONDS more time",
                code="not-resumable",
            )
        saved = {name: base64.b64encode(taker.save()).decode() for name, taker in self._takers.items()}
        return LongState(self.offset, saved)

    def digests(self) -> dict[str, bytes]:
        """The digests of everything taken."""
        return {name: taker.digest() for name, taker in self._takers.items()}


@runtime_checkable
class Taker(Protocol):
    """A digest that can be put down: `save` gives its state at multiples of 128 bytes."""

    def update(self, data: Any, /) -> None:
        """Take more bytes."""
        ...

    def save(self) -> bytes:
        """The state, for `taker`."""
        ...

    def digest(self) -> bytes:
        """Digest of everything taken."""
        ...


def taker(name: str, saved: bytes | None = None) -> Taker:
    """A digest that can be put down, new or from what `save` gave; ask `resumes` first. Raises Broken."""
    if name in _SUMS:
        return _Sum(name, saved)
    return resumable.ResumableDigest(name) if saved is None else resumable.ResumableDigest.restore(saved)


def _taker(name: str, state: LongState, *, resumed: bool) -> Any:
    saved = state.states.get(name)
    if state.offset and saved is None:
        raise Broken(f"the saved state of {name} is missing", code="digest-state")
    data = base64.b64decode(saved) if saved is not None else None
    if not resumed and name not in _SUMS:
        return new_digest(name)
    digest = taker(name, data)
    if data is not None and getattr(digest, "length", state.offset) != state.offset:
        raise Broken("the saved state of a digest is of another place", code="digest-state")
    return digest


class _Sum:
    """A checksum whose value is all its state."""

    def __init__(self, name: str, state: bytes | None) -> None:
        self._update, start = _SUMS[name]
        self._value = start if state is None else int.from_bytes(state, "big")

    def update(self, data: memoryview) -> None:
        self._value = self._update(data, self._value)

    def save(self) -> bytes:
        return self._value.to_bytes(4, "big")

    def digest(self) -> bytes:
        return self.save()


def checked_crc(path: str, expected: int | None, digests: Mapping[str, bytes]) -> None:
    """Raise PackageRejected when a container keeps a CRC-32 of the file and it is another one."""
    if expected is not None and int.from_bytes(digests["crc32"], "big") != expected:
        raise PackageRejected("member-checksum", path)
