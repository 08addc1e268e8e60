"""Digests of one long run of bytes, continued from invocation to invocation (packages.md 4.3)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perdura.errors import Broken, ObjectChanged
from perdura.packages import resumable
from perdura.packages.rules import PackageRejected
from perdura.storage.digests import adler32, crc32, new_digest

_SUMS: dict[str, tuple[Callable[[Any, int], int], int]] = {"adler32": (adler32, 1), "crc32": (crc32, 0)}
_SAVED_AT = 128
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
    stops = stops and resumes(algorithms)
    state = state if stops else START
    takers = [_taker(name, state, resumed=stops) for name in algorithms]
    offset = state.offset
    for chunk in read(offset):
        for taker in takers:
            taker.update(chunk)
        offset += len(chunk)
        progress(offset)
        if offset < size and offset % _SAVED_AT == 0 and near():
            if not stops:
                raise Broken(
                    "a file is too long to be verified within one invocation, and its digests cannot be continued "
                    "here: give PERDURA_INVOCATION_SECONDS more time",
                    code="not-resumable",
                )
            states = {
                name: base64.b64encode(taker.save()).decode() for name, taker in zip(algorithms, takers, strict=True)
            }
            return LongState(offset, states)
    if offset != size:
        raise ObjectChanged("a file was changed while it was being read")
    return LongState(offset, {}, {name: taker.digest() for name, taker in zip(algorithms, takers, strict=True)})


def _taker(name: str, state: LongState, *, resumed: bool) -> Any:
    saved = state.states.get(name)
    if state.offset and saved is None:
        raise Broken(f"the saved state of {name} is missing", code="digest-state")
    data = base64.b64decode(saved) if saved is not None else None
    if name in _SUMS:
        return _Sum(name, data)
    if not resumed:
        return new_digest(name)
    if data is None:
        return resumable.ResumableDigest(name)
    digest = resumable.ResumableDigest.restore(data)
    if digest.length != state.offset:
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
