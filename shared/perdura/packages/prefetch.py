"""Receives a large range ahead of its use: two receivers fill buffers that go round, nothing is copied."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdura.packages.source import ByteSource

_RECEIVERS = 2
_BUFFERS, _BUFFER = 4, 8 * 2**20


def prefetched(source: ByteSource, offset: int, length: int) -> Iterator[memoryview]:
    """The bytes of the range (fewer only at the source's end); each chunk is valid until the next is asked for.

    Raises what reading the source raises.
    """
    if length <= _BUFFER:
        yield from source.stream(offset, length)
        return
    end = offset + length
    flying: deque[tuple[memoryview, Future[int]]] = deque()
    with ThreadPoolExecutor(_RECEIVERS, thread_name_prefix="receive") as pool:

        def receive(buffer: memoryview) -> None:
            nonlocal offset
            part = buffer[: min(_BUFFER, end - offset)]
            if len(part):
                flying.append((buffer, pool.submit(source.read_into, offset, part)))
                offset += len(part)

        for _ in range(_BUFFERS):
            receive(memoryview(bytearray(_BUFFER)))
        try:
            while flying:
                buffer, filling = flying.popleft()
                got = filling.result()
                if got:
                    yield buffer[:got]
                if got < _BUFFER and flying:
                    return  # the source is shorter than it was said to be
                receive(buffer)
        finally:
            for _, filling in flying:
                filling.cancel()
