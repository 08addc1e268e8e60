"""Receives a large range on one thread while another uses what has come: four buffers go round, no copy."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdura.packages.source import ByteSource

_BUFFERS, _BUFFER = 4, 4 * 2**20


def prefetched(source: ByteSource, offset: int, length: int) -> Iterator[memoryview]:
    """The bytes of the range (fewer only at the source's end); each chunk is valid until the next is asked for.

    Raises what reading the source raises.
    """
    if length <= _BUFFER:
        yield from source.stream(offset, length)
        return
    free: queue.SimpleQueue[bytearray | None] = queue.SimpleQueue()
    full: queue.SimpleQueue[tuple[bytearray, int] | BaseException | None] = queue.SimpleQueue()
    for _ in range(_BUFFERS):
        free.put(bytearray(_BUFFER))

    def receive() -> None:
        position, end = offset, offset + length
        try:
            while position < end:
                buffer = free.get()
                if buffer is None:
                    return
                got = source.read_into(position, memoryview(buffer)[: min(_BUFFER, end - position)])
                full.put((buffer, got))
                if got == 0:
                    break
                position += got
            full.put(None)
        except BaseException as error:
            full.put(error)

    receiver = threading.Thread(target=receive, name="receive", daemon=True)
    receiver.start()
    try:
        while True:
            item = full.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            buffer, got = item
            if got == 0:
                return
            yield memoryview(buffer)[:got]
            free.put(buffer)
    finally:
        free.put(None)
        receiver.join()
