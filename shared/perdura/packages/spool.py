"""Texts on local disk: written once in their order, read as often as wanted, whatever their number."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile

_IN_MEMORY = 4 * 2**20


class Spool:
    """Texts one after the other, compressed; on disk only when they are many. One reader at a time."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY, prefix="perdura-spool-")  # noqa: SIM115 closed with self
        self._writing: gzip.GzipFile | None = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=1)

    def close(self) -> None:
        """Give back the memory or the disk that they take."""
        self._file.close()

    def add(self, text: str) -> None:
        """Add a text; not after the first reading."""
        assert self._writing is not None
        self._writing.write(json.dumps(text).encode() + b"\n")

    def __iter__(self) -> Iterator[str]:
        """All texts from the first."""
        if self._writing is not None:
            self._writing.close()
            self._writing = None
        self._file.seek(0)
        with gzip.GzipFile(fileobj=self._file, mode="rb") as lines:
            for line in lines:
                yield json.loads(line)
