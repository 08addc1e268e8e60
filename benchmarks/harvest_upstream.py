"""The repository of the harvest benchmark: InvenioRDM's routes, answered with as little work as Python allows.

    python benchmarks/harvest_upstream.py FILE MD5

Serves until killed; prints its port. FILE is the large file. It runs beside what is measured, so its own time counts
against both sides: each connection has a thread that reads a request head and sends one buffer.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

SMALL_FILES = 1000
SMALL = 4096
PLANNED_FILES = 3
TOGETHER = 4
"""Large files of one record, which are fetched at the same time: what memory is measured by."""

_ROUTE = re.compile(r"(/zenodo\.org)?/api/records/([^/]+)(/files)?(?:/([^/]+)/content)?")
_HOST = re.compile(rb"\r\n[Hh]ost: *([^\r]+)")


def content(number: int) -> bytes:
    """Bytes of one small file, no two alike."""
    return hashlib.sha512(str(number).encode()).digest() * (SMALL // 64)


class Repository:
    """The records `1` (many small files), `2` and `3` (large ones) and any other (three small files)."""

    def __init__(self, large: Path, md5: str) -> None:
        self._large, self._md5 = large, md5
        self._size = large.stat().st_size

    def answer(self, target: str, host: str) -> tuple[int, str, bytes | None]:
        """Status, media type and body of an address; no body stands for the large file."""
        match = _ROUTE.fullmatch(unquote(target.partition("?")[0]))
        if match is None:
            return 404, "application/json", b"{}"
        # Real host names may stand before the path: bagit-create's requests are sent here with theirs.
        base = "https://zenodo.org" if match[1] else f"http://{host}"
        name = match[4] or ""
        if name.startswith("large"):
            return 200, "application/octet-stream", None
        if name:
            return 200, "application/octet-stream", _small(int(name.removesuffix(".dat")))
        value = self._files(match[2], base) if match[3] else _record(match[2], base)
        return 200, "application/json", json.dumps(value).encode()

    def send_large(self, connection: socket.socket) -> None:
        """Send the large file."""
        with self._large.open("rb") as file:
            connection.sendfile(file)

    @property
    def size(self) -> int:
        """Bytes of the large file."""
        return self._size

    def _files(self, recid: str, base: str) -> dict[str, Any]:
        api = f"{base}/api/records/{recid}/files"
        if recid == "2":
            files = [("large.bin", self._size, self._md5)]
        elif recid == "3":
            files = [(f"large-{n}.bin", self._size, self._md5) for n in range(TOGETHER)]
        else:
            first, count = (0, SMALL_FILES) if recid == "1" else (int(recid) * 3, PLANNED_FILES)
            files = [(f"{n}.dat", SMALL, hashlib.md5(content(n)).hexdigest()) for n in range(first, first + count)]
        entries = [
            {
                "key": key,
                "size": size,
                "checksum": f"md5:{md5}",
                "status": "completed",
                "links": {"content": f"{api}/{key}/content"},
            }
            for key, size, md5 in files
        ]
        return {"enabled": True, "entries": entries}


@cache
def _small(number: int) -> bytes:
    return content(number)


def _record(recid: str, base: str) -> dict[str, Any]:
    return {
        "id": recid,
        "revision_id": 1,
        "updated": "2026-01-01T00:00:00+00:00",
        "metadata": {"title": f"Record {recid}", "creators": [{"person_or_org": {"name": "Exemplar"}}]},
        "links": {"self_html": f"{base}/records/{recid}", "files": f"{base}/api/records/{recid}/files"},
        "files": {"enabled": True},
        "access": {"status": "open"},
    }


def converse(repository: Repository, connection: socket.socket) -> None:
    """Answer the requests of one connection until the other side closes it."""
    waiting = b""
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            while b"\r\n\r\n" not in waiting:
                data = connection.recv(1 << 16)
                if not data:
                    return
                waiting += data
            head, _, waiting = waiting.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode()
            host = _HOST.search(head)
            status, kind, body = repository.answer(target, host[1].decode() if host else "")
            length = repository.size if body is None else len(body)
            answer = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()
            try:
                connection.sendall(answer + (body or b""))
                if body is None:
                    repository.send_large(connection)
            except OSError:
                return


def serve(large: str, md5: str) -> None:
    """Serve until killed; prints the port."""
    repository = Repository(Path(large), md5)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=converse, args=(repository, connection), daemon=True).start()


if __name__ == "__main__":
    serve(*sys.argv[1:])
