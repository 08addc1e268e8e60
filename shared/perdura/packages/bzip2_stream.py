"""bzip2 as a stream: any number of streams one after the other, as pbzip2 writes them, in little memory."""

from __future__ import annotations

import bz2
from collections.abc import Iterable, Iterator

from perdura.errors import Rejected

_PIECE = 1 << 20


def decompressed(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The bytes within, at most 1 MiB at a time; raises Rejected for what is damaged or cut off."""
    stream, begun = bz2.BZ2Decompressor(), False
    for chunk in chunks:
        rest = bytes(chunk)
        while rest or (begun and not stream.needs_input):
            begun = True
            try:
                piece = stream.decompress(rest, _PIECE)
            except (OSError, ValueError) as error:
                raise Rejected("the bzip2 stream is damaged", code="container-damaged") from error
            if piece:
                yield piece
            rest = b""
            if stream.eof:
                rest, stream, begun = stream.unused_data, bz2.BZ2Decompressor(), False
    if begun:
        raise Rejected("the bzip2 stream is cut off", code="container-damaged")
