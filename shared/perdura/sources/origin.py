"""Where the bytes of a harvest come from: HTTP, a folder of this machine, or our own object store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from perdura.clients.http import Stream


class Origin(Protocol):
    """Opens files by address. `HttpClient` is the usual one."""

    def stream(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        total_seconds: float | None = None,
        decode: bool = True,
    ) -> AbstractContextManager[Stream]:
        """Open a file; the status says whether there is one, as HTTP's does."""
        ...
