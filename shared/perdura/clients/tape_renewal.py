"""The tape system of a process that lives longer than a certificate: made anew when its files are others."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from perdura.clients.tape import FtsTape, tape_system
from perdura.errors import Broken
from perdura.settings import Settings

log = logging.getLogger(__name__)
Stamp = tuple[tuple[int, int, int] | None, ...]


class RenewedTape:
    """Gives the tape system that the settings name, with the certificate, key and CA that are in their files now.

    Connections, TLS contexts and what FTS takes us for are those of one certificate; all are made anew together. Who
    still works with the one before may end with it. Safe to use from several threads.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._made: FtsTape | None = None
        self._stamp: Stamp | None = None

    def __call__(self) -> FtsTape | None:
        """None where none is configured. Raises Broken when its files cannot be used and never could.

        New files that cannot be used, as between the writing of certificate and key, are tried again at the next call.
        """
        with self._lock:
            stamp = self._files()
            if stamp == self._stamp:
                return self._made
            try:
                made = tape_system(self._settings)
            except Broken as error:
                if self._made is None:
                    raise
                log.warning("the tape credentials are others, and cannot be used yet: %s", error.message)
                return self._made
            if self._stamp is not None:
                log.info("the tape credentials are others; connecting anew")
            self._made, self._stamp = made, stamp
            return made

    def _files(self) -> Stamp:
        """What changes when a file is written or replaced; taken before it is read, so that no change is missed."""
        settings = self._settings
        return tuple(_stamp(path) for path in (settings.tape_certificate, settings.tape_key, settings.tape_ca))


def _stamp(path: str | None) -> tuple[int, int, int] | None:
    try:
        info = Path(path).stat() if path else None
    except OSError:
        return None
    return None if info is None else (info.st_ino, info.st_mtime_ns, info.st_size)
