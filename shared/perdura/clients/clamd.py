"""Scans files with a ClamAV daemon over its socket (embedded-services.md 7.2 to 7.4).

Four outcomes, never two: what the daemon could not look into is `not-scanned`, not `clean` and not `infected`.
clamd must run with `AlertExceedsMax yes` and `AlertEncrypted yes`; otherwise it calls such files OK. That is asked of
it by two harmless files that it cannot look into, before anything it says is trusted.
"""

from __future__ import annotations

import io
import re
import socket
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from perdura.errors import UpstreamUnavailable
from perdura.ports import Scan
from perdura.settings import Settings

SIZE_LIMIT = 2**31 - 1
"""Bytes of a file above which ClamAV looks at nothing, whatever its configuration (embedded-services.md 7.3)."""

DATABASE_AGE = timedelta(days=7)
"""Age from which a database no longer lets anything pass."""

_DEPTH = 250
_FRAME = 1 << 20
_REPLY_LIMIT = 4096
_VERSION = re.compile(r"ClamAV [^/]+/(?P<number>\d+)/(?P<date>.+)")
_DATE = "%a %b %d %H:%M:%S %Y"
_NOT_SCANNED = ("Heuristics.Limits.Exceeded", "Heuristics.Encrypted")


def _now() -> datetime:
    return datetime.now(UTC)


class ClamdScanner:
    """`VirusScanner` at `address`: a socket path, or `host:port`; `timeout` in seconds for each answer."""

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 120,
        database_age: timedelta = DATABASE_AGE,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._database_age = database_age
        self._now = now
        self._candid = ""
        """The engine that told of what it could not look into."""

    @property
    def engine(self) -> str:
        """What the daemon answers to VERSION: engine, database number and date; raises UpstreamUnavailable."""
        try:
            with self._connect() as connection:
                connection.sendall(b"zVERSION\0")
                version = _reply(connection)
        except OSError as error:
            raise UpstreamUnavailable(f"clamd does not answer at {self._address}: {error}") from error
        if not version:
            raise UpstreamUnavailable(f"clamd at {self._address} closed the connection without an answer")
        return version

    @property
    def trusted(self) -> bool:
        """Whether there is an official database, not too old a one, and it tells of what it could not look into.

        Raises UpstreamUnavailable.
        """
        engine = self.engine
        match = _VERSION.fullmatch(engine)
        if match is None:
            return False
        try:
            made = datetime.strptime(match["date"], _DATE).replace(tzinfo=UTC)
        except ValueError:
            return False
        if self._now() - made > self._database_age:
            return False
        if self._candid != engine:
            probes = (_nested(), _encrypted())
            if any(self.scan(iter((probe,)), len(probe)).verdict != "not-scanned" for probe in probes):
                return False
            self._candid = engine
        return True

    def scan(self, chunks: Iterator[bytes], size: int) -> Scan:
        """Scan one file of `size` bytes; a daemon that fails is the verdict `error`."""
        if size > SIZE_LIMIT:
            return Scan("not-scanned", "2 GiB or larger: ClamAV does not look into such files")
        try:
            with self._connect() as connection:
                return _verdict(_instream(connection, chunks))
        except OSError as error:
            return Scan("error", f"clamd does not answer: {error}")

    def _connect(self) -> socket.socket:
        if self._address.startswith("/"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self._timeout)
            try:
                connection.connect(self._address)
            except OSError:
                connection.close()
                raise
            return connection
        host, _, port = self._address.rpartition(":")
        if not port.isdecimal():
            raise OSError(f"{self._address!r} is neither a path nor host:port")
        return socket.create_connection((host.strip("[]"), int(port)), self._timeout)


def scanner(settings: Settings) -> ClamdScanner | None:
    """The configured scanner, or None."""
    return ClamdScanner(settings.clamd) if settings.clamd else None


def _nested() -> bytes:
    """Archives within archives, deeper than the most that `MaxRecursion` can be set to (100)."""
    data = b"nothing"
    for _ in range(_DEPTH):
        data = _zipped(data)
    return data


def _encrypted() -> bytes:
    """An archive whose one member is marked as encrypted (APPNOTE 6.3.10, 4.4.4)."""
    data = bytearray(_zipped(b"nothing"))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    return bytes(data)


def _zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a"), data)
    return out.getvalue()


def _instream(connection: socket.socket, chunks: Iterator[bytes]) -> str:
    """Send the file; the answer is read also when the daemon hangs up early, because it comes before that."""
    try:
        connection.sendall(b"zINSTREAM\0")
        for chunk in chunks:
            for start in range(0, len(chunk), _FRAME):
                frame = chunk[start : start + _FRAME]
                connection.sendall(len(frame).to_bytes(4) + frame)
        connection.sendall(bytes(4))
    except (BrokenPipeError, ConnectionResetError) as broken:
        reply = _last_words(connection)
        if not reply:
            raise broken
        return reply
    return _reply(connection)


def _last_words(connection: socket.socket) -> str:
    try:
        return _reply(connection)
    except OSError:
        return ""


def _reply(connection: socket.socket) -> str:
    received = b""
    while b"\0" not in received and len(received) < _REPLY_LIMIT:
        try:
            data = connection.recv(_REPLY_LIMIT)
        except ConnectionResetError:
            if not received:
                raise
            break
        if not data:
            break
        received += data
    return received.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _verdict(reply: str) -> Scan:
    said = reply.removeprefix("stream: ")
    if said == "OK":
        return Scan("clean", "nothing found")
    if said.endswith(" FOUND"):
        name = said.removesuffix(" FOUND")
        return Scan("not-scanned" if name.startswith(_NOT_SCANNED) else "infected", name)
    if "size limit exceeded" in said:
        return Scan("not-scanned", "larger than the daemon's StreamMaxLength")
    return Scan("error", said or "clamd closed the connection without an answer")
