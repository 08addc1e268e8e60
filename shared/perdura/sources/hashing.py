"""Digests of a large file beside its transfer: the algorithms share two threads while reading and storing go on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable

from perdura.storage.digests import Digests

DEPTH = 8
"""Chunks that may wait for a thread: memory stays at a few chunks whatever the file's size."""

_SLOW = ("sha512", "sha384")


class ThreadedDigests:
    """Like `Digests`, for immutable chunks. `close` ends its threads; `hexdigests` does so too."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        names = set(algorithms)
        # Half of the work is SHA-512; the others together are the other half.
        groups = [group for group in (names.intersection(_SLOW), names.difference(_SLOW)) if group]
        self._lanes = [_Lane(sorted(group)) for group in groups]

    def update(self, data: bytes) -> None:
        """Take more bytes; waits when the threads are behind."""
        for lane in self._lanes:
            lane.queue.put(data)

    def hexdigests(self) -> dict[str, str]:
        """Algorithm -> lower-case hex of everything taken; nothing can be added afterwards."""
        self.close()
        found: dict[str, str] = {}
        for lane in self._lanes:
            found |= lane.digests.hexdigests()
        return found

    def close(self) -> None:
        """End the threads after what they were given."""
        for lane in self._lanes:
            lane.close()


class _Lane:
    def __init__(self, algorithms: list[str]) -> None:
        self.digests = Digests(algorithms)
        self.queue: queue.Queue[bytes | None] = queue.Queue(DEPTH)
        self._thread = threading.Thread(target=self._work, name="digest", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (data := self.queue.get()) is not None:
            self.digests.update(data)

    def close(self) -> None:
        if self._thread.is_alive():
            self.queue.put(None)
            self._thread.join()
