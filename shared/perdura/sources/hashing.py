"""Digests of a large file beside its transfer: three threads share the algorithms while reading and storing go on.

Where this machine can put digests down (packages.md 4.3), another process goes on from their saved states.
"""

from __future__ import annotations

import base64
import queue
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from types import MappingProxyType

from perdura.packages.long_digest import Taker, resumes, taker
from perdura.storage.digests import Digest, new_digest

DEPTH = 8
"""Chunks that may wait for a thread: memory stays at a few chunks whatever the file's size."""

_SLOW = frozenset({"sha512", "sha384"})
_SERIAL = frozenset({"md5"})

Saved = Mapping[str, str]
"""States of digests, by algorithm, in Base64."""


class Marked:
    """The states of all digests at one place of the file, as soon as the threads have come there."""

    def __init__(self, parts: list[Future[dict[str, str]]]) -> None:
        self._parts = parts

    def states(self) -> Saved:
        """Wait for the threads and give the states."""
        return {name: state for part in self._parts for name, state in part.result().items()}


class ThreadedDigests:
    """Digests of immutable chunks. `close` ends the threads; `hexdigests` does so too."""

    def __init__(self, algorithms: Iterable[str], saved: Saved = MappingProxyType({})) -> None:
        """`saved` are states of exactly these algorithms to go on from; raises Broken when they are damaged."""
        names = frozenset(algorithms)
        self.resumable = resumes(tuple(names))
        # MD5 and SHA-512 take about the same time, SHA-256 half of it where the processor knows it: whichever core is
        # free takes the thread that has most to do.
        groups = [group for group in (names & _SLOW, names & _SERIAL, names - _SLOW - _SERIAL) if group]
        self._lanes = [_Lane({name: self._begin(name, saved) for name in sorted(group)}) for group in groups]

    def _begin(self, name: str, saved: Saved) -> Digest | Taker:
        if not self.resumable:
            return new_digest(name)
        return taker(name, base64.b64decode(saved[name]) if saved else None)

    def update(self, data: bytes) -> None:
        """Take more bytes; waits when the threads are behind."""
        for lane in self._lanes:
            lane.queue.put(data)

    def mark(self) -> Marked:
        """Ask for the states after what was taken so far, a multiple of 128 bytes; only where `resumable`."""
        parts: list[Future[dict[str, str]]] = []
        for lane in self._lanes:
            part: Future[dict[str, str]] = Future()
            lane.queue.put(part)
            parts.append(part)
        return Marked(parts)

    def hexdigests(self) -> dict[str, str]:
        """Algorithm -> lower-case hex of everything taken; nothing can be added afterwards."""
        self.close()
        return {name: digest.digest().hex() for lane in self._lanes for name, digest in lane.digests.items()}

    def close(self) -> None:
        """End the threads after what they were given."""
        for lane in self._lanes:
            lane.close()


class _Lane:
    def __init__(self, digests: Mapping[str, Digest | Taker]) -> None:
        self.digests = digests
        self.queue: queue.Queue[bytes | Future[dict[str, str]] | None] = queue.Queue(DEPTH)
        self._thread = threading.Thread(target=self._work, name="digest", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (item := self.queue.get()) is not None:
            if isinstance(item, Future):
                item.set_result(self._states())
            else:
                for digest in self.digests.values():
                    digest.update(item)

    def _states(self) -> dict[str, str]:
        kept = {name: digest for name, digest in self.digests.items() if isinstance(digest, Taker)}
        return {name: base64.b64encode(digest.save()).decode() for name, digest in kept.items()}

    def close(self) -> None:
        if self._thread.is_alive():
            self.queue.put(None)
            self._thread.join()
