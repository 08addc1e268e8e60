"""A store that is read only while there is time: what cannot be cut into invocations ends by name, not by a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from perdura.errors import Broken
from perdura.storage.store import ObjectRef, Store

TOO_LARGE = (
    "The package is too large for one invocation: give PERDURA_INVOCATION_SECONDS more time, or have packages of its "
    "size done by a Job (PERDURA_OUTSIZED_BYTES)."
)


class TimeUp(Broken):
    """The time budget of this invocation is used up in the middle of something."""

    code = "invocation-too-short"

    def __init__(self, message: str = TOO_LARGE) -> None:
        super().__init__(message)


@dataclass
class Watch:
    """Says that time is up, once it is on: not while something is read that cannot be put down."""

    near: Callable[[], bool]
    on: bool = False

    def over(self) -> bool:
        """Whether time is up."""
        return self.on and self.near()


def timed(store: Store, near: Callable[[], bool]) -> Store:
    """The same store, whose reads raise TimeUp as soon as `near` says that time is up."""
    return cast(Store, _TimedStore(store, near))


class _TimedStore:
    def __init__(self, store: Store, near: Callable[[], bool]) -> None:
        self._store = store
        self._near = near

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _check(self) -> None:
        if self._near():
            raise TimeUp

    def stream(
        self, ref: ObjectRef, offset: int = 0, length: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[memoryview]:
        for piece in self._store.stream(ref, offset, length, chunk):
            self._check()
            yield piece

    def read_into(self, ref: ObjectRef, offset: int, buffer: memoryview) -> int:
        self._check()
        return self._store.read_into(ref, offset, buffer)
