"""Files of a draft: local transfer, multipart, and files that the server fetches itself (inveniordm.md 1.3 to 1.5).

A good status proves nothing here: every answer is searched for `errors`, and the caller compares MD5 and size of what
was committed with its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from perdura.clients.inveniordm.model import FileEntry, complaints, file_of
from perdura.clients.inveniordm.wire import RdmNotFound, RdmRefused, Wire

LONGEST_KEY = 255
"""Characters of a file name; a longer one is announced without complaint and can never be committed."""

OCTETS = {"Content-Type": "application/octet-stream"}

Content = Callable[[], Iterable[bytes]]
"""Gives the bytes of a file, or of a part of it, anew each time."""


class Files:
    """Requests about the files of drafts; every method raises the errors of `wire`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def list(self, record_id: str, *, draft: bool = True) -> Sequence[FileEntry]:
        """The files of a draft or of a published record."""
        value = self._wire.json("GET", _path(record_id, draft=draft))
        entries = value.get("entries", []) if isinstance(value, Mapping) else []
        return [file_of(entry) for entry in entries]

    def one(self, record_id: str, key: str) -> FileEntry:
        """One file of a draft."""
        return file_of(self._judged("GET", _path(record_id, key)))

    def announce(self, record_id: str, entries: Sequence[Mapping[str, Any]]) -> Sequence[FileEntry]:
        """Announce files: `key`, and where wanted `size`, `metadata`, `transfer`; never a checksum.

        Without a declared checksum nothing can come back that the server did not compute itself. The answer lists
        all files of the draft; what comes back here are the announced ones, in their order.
        """
        value = self._judged("POST", _path(record_id), body=[dict(entry) for entry in entries])
        found = {file.key: file for file in map(file_of, value.get("entries", []))}
        missing = [entry["key"] for entry in entries if entry["key"] not in found]
        if missing:
            raise RdmRefused(f"{self._wire.host} did not take the files {', '.join(missing[:5])}.", 201)
        return [found[entry["key"]] for entry in entries]

    def send(self, record_id: str, key: str, content: Content, size: int) -> None:
        """Send the content of an announced file; raises RdmTooLarge when it has to be sent in parts."""
        path = _path(record_id, key, "content")
        self._judged("PUT", path, content=content, size=size, headers=OCTETS)

    def send_part(self, url: str, content: Content, size: int) -> None:
        """Send one part of a file that was announced as multipart; it must have exactly `size` bytes."""
        answer = self._wire.send_part(url, content, size)
        if answer.status < 300 and answer.json() is None:
            return
        self._refuse_errors(self._wire.judged(answer, "PUT of a part"))

    def commit(self, record_id: str, key: str) -> FileEntry:
        """Commit a file whose content was sent."""
        return file_of(self._judged("POST", _path(record_id, key, "commit")))

    def delete(self, record_id: str, key: str) -> None:
        """Take a file out of a draft; one that is not there is as good."""
        try:
            self._wire.json("DELETE", _path(record_id, key))
        except RdmNotFound:
            return

    def _judged(self, method: str, path: str, **more: Any) -> Any:
        value = self._wire.json(method, path, **more)
        self._refuse_errors(value)
        return value if isinstance(value, Mapping) else {}

    def _refuse_errors(self, value: Any) -> None:
        found = list(complaints(value))
        if found:
            raise RdmRefused(f"{self._wire.host}: 200 with errors: {' '.join(found)}", 200)


def _path(record_id: str, key: str | None = None, action: str = "", *, draft: bool = True) -> str:
    path = f"/api/records/{quote(record_id, safe='')}/{'draft/' if draft else ''}files"
    if key is not None:
        path += f"/{quote(key, safe='')}"
    return f"{path}/{action}" if action else path
