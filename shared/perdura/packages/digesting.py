"""Computes the digests of a container's members on all processors, each member's bytes read once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from perdura.packages.container import Container, Task
from perdura.storage.digests import Maker, maker

Deliver = Callable[[int, Sequence[bytes]], None]
"""Called with a member's index and its digests, in the order of its algorithms; one call at a time per member."""


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def digest(
    container: Container,
    algorithms: Callable[[int], tuple[str, ...]],
    wanted: Callable[[int], bool],
    deliver: Deliver,
    progress: Callable[[int], None] = lambda _: None,
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Digest every wanted member; `progress` is told the bytes of each member that is done.

    When `enough` says so no more members are begun: those done are then the first ones, as they lie.

    Raises the error of the first member (in the order in which they lie) that has one, whatever the number of
    threads, so that a verdict does not depend on it (packages.md 2.1).
    """
    tasks = _Queue(container.tasks(wanted), enough)
    threads = [
        threading.Thread(target=_work, args=(tasks, algorithms, deliver, progress), name=f"digest-{n}", daemon=True)
        for n in range(1, container.parallelism or processors())
    ]
    for thread in threads:
        thread.start()
    _work(tasks, algorithms, deliver, progress)
    for thread in threads:
        thread.join()
    tasks.raise_first()


class _Queue:
    """Hands out tasks in order; after a failure it hands out no more, but those before it are finished."""

    def __init__(self, tasks: Iterable[Task], enough: Callable[[], bool]) -> None:
        self._tasks = enumerate(tasks)
        self._enough = enough
        self._lock = threading.Lock()
        self._failures: list[tuple[int, BaseException]] = []

    def take(self) -> tuple[int, Task] | None:
        with self._lock:
            return None if self._failures or self._enough() else next(self._tasks, None)

    def fail(self, number: int, error: BaseException) -> None:
        with self._lock:
            self._failures.append((number, error))

    def raise_first(self) -> None:
        if not self._failures:
            return
        first = min(self._failures, key=lambda failure: failure[0])[1]
        # The error's traceback holds the frames and their buffers: without these two lines it would hold
        # itself too, and the buffers would stay until the garbage of cycles is collected.
        self._failures.clear()
        try:
            raise first
        finally:
            del first


def _work(
    tasks: _Queue,
    algorithms: Callable[[int], tuple[str, ...]],
    deliver: Deliver,
    progress: Callable[[int], None],
) -> None:
    while (item := tasks.take()) is not None:
        number, task = item
        try:
            progress(_run(task(), algorithms, deliver))
        except BaseException as error:
            tasks.fail(number, error)


def _run(
    files: Iterator[tuple[int, Iterable[memoryview]]],
    algorithms: Callable[[int], tuple[str, ...]],
    deliver: Deliver,
) -> int:
    done = 0
    names: tuple[str, ...] | None = None
    makers: list[Maker] = []
    for index, chunks in files:
        wanted = algorithms(index)
        if wanted is not names:
            names, makers = wanted, [maker(name) for name in wanted]
        if isinstance(chunks, tuple) and len(chunks) == 1:
            (chunk,) = chunks
            done += len(chunk)
            deliver(index, [make(chunk).digest() for make in makers])
            continue
        digests = [make() for make in makers]
        for chunk in chunks:
            for one in digests:
                one.update(chunk)
            done += len(chunk)
        deliver(index, [one.digest() for one in digests])
    return done
