"""One suite over every virus scanner: the fake that step tests use, and a real clamd where it is installed."""

from __future__ import annotations

import io
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perdura.clients.clamd import SIZE_LIMIT, ClamdScanner, scanner
from perdura.errors import UpstreamUnavailable
from perdura.ports import Scan, VirusScanner
from perdura.settings import Settings
from tests.unit.preserve.fakes import EICAR, FakeScanner

CLAMD = shutil.which("clamd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
STREAM_LIMIT = 3 << 20
FILE_LIMIT = 2 << 20
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(scope="module")
def clamd_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with daemon(tmp_path_factory.mktemp("clamd")) as address:
        yield address


@contextmanager
def daemon(root: Path, alerts: str = "yes") -> Iterator[str]:
    """A real clamd with test signatures only (embedded-services.md 7.1)."""
    if CLAMD is None:
        pytest.skip("clamd is not installed")
    (root / "db").mkdir()
    (root / "db" / "test.hdb").write_text("44d88612fea8a8f36de82e1278abb02f:68:Eicar-Test-File\n")
    (root / "clamd.conf").write_text(
        f"DatabaseDirectory {root}/db\nLocalSocket {root}/s\nLocalSocketMode 600\nLogFile {root}/log\n"
        f"Foreground yes\nUser {pwd.getpwuid(os.getuid()).pw_name}\nMaxThreads 2\nStreamMaxLength {STREAM_LIMIT}\n"
        f"MaxFileSize {FILE_LIMIT}\nMaxScanSize 400M\nAlertExceedsMax {alerts}\nAlertEncrypted {alerts}\n"
    )
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([CLAMD, "-c", f"{root}/clamd.conf"], stdout=quiet, stderr=quiet)
    try:
        for _ in range(300):
            if (root / "s").exists():
                break
            time.sleep(0.05)
        yield f"{root}/s"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(params=["fake", "clamd"])
def either(request: pytest.FixtureRequest) -> VirusScanner:
    if request.param == "fake":
        return FakeScanner()
    return ClamdScanner(request.getfixturevalue("clamd_socket"))


def scan(over: VirusScanner, data: bytes, piece: int = 1 << 16) -> Scan:
    return over.scan((data[start : start + piece] for start in range(0, len(data), piece)), len(data))


def test_clean(either: VirusScanner) -> None:
    assert scan(either, b"nothing to see").verdict == "clean"


def test_empty_file_is_clean(either: VirusScanner) -> None:
    assert scan(either, b"").verdict == "clean"


def test_infected_names_the_signature(either: VirusScanner) -> None:
    found = scan(either, EICAR, 7)
    assert found.verdict == "infected"
    assert "Eicar" in found.detail


def test_two_gibibytes_are_never_sent(either: VirusScanner) -> None:
    def unread() -> Iterator[bytes]:
        raise AssertionError("a file of that size must not be read")
        yield b""

    assert either.scan(unread(), SIZE_LIMIT + 1).verdict == "not-scanned"


def test_scans_at_once(either: VirusScanner) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda data=data: found.append(scan(either, data).verdict))
        for data in (EICAR, b"harmless") * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["clean"] * 4 + ["infected"] * 4


def test_file_beyond_the_daemons_limit_is_not_scanned(clamd_socket: str) -> None:
    found = scan(ClamdScanner(clamd_socket), bytes(FILE_LIMIT + 1))
    assert found == Scan("not-scanned", "Heuristics.Limits.Exceeded.MaxFileSize")


def test_answer_is_read_when_the_daemon_hangs_up_while_we_send(clamd_socket: str) -> None:
    found = scan(ClamdScanner(clamd_socket), bytes(8 * STREAM_LIMIT), 1 << 20)
    assert found == Scan("not-scanned", "larger than the daemon's StreamMaxLength")


def test_encrypted_archive_is_not_scanned(clamd_socket: str) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("secret.txt", b"x" * 100)
    data = bytearray(archive.getvalue())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    found = scan(ClamdScanner(clamd_socket), bytes(data))
    assert found == Scan("not-scanned", "Heuristics.Encrypted.Zip")


def test_database_of_test_signatures_is_not_trusted(clamd_socket: str) -> None:
    real = ClamdScanner(clamd_socket)
    assert real.engine.startswith("ClamAV ")
    assert not real.trusted


@pytest.fixture
def scripted() -> Iterator[tuple[str, list[bytes]]]:
    """A daemon on TCP that answers every connection with the next of the given replies, whatever it is asked."""
    replies: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked = connection.recv(1 << 16)
                    while asked.startswith(b"zINSTREAM") and not asked.endswith(bytes(4)):
                        asked += connection.recv(1 << 16)
                    connection.sendall(replies.pop(0))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", replies
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


UNSCANNED = [
    b"stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND\0",
    b"stream: Heuristics.Encrypted.Zip FOUND\0",
]


@pytest.mark.parametrize("silent", [0, 1])
def test_a_daemon_that_calls_clean_what_it_could_not_look_into_is_not_trusted(
    scripted: tuple[str, list[bytes]], silent: int
) -> None:
    address, replies = scripted
    replies += [b"ClamAV 1.4.6/27830/Mon Nov 23 09:30:12 2026\0", *UNSCANNED]
    replies[1 + silent] = b"stream: OK\0"
    assert not ClamdScanner(address, now=lambda: NOW).trusted


def test_a_daemon_is_tried_once_for_each_database(scripted: tuple[str, list[bytes]]) -> None:
    address, replies = scripted
    monday, tuesday = (f"ClamAV 1.4.6/{day}/Mon Nov 23 09:30:12 2026\0".encode() for day in (27830, 27831))
    replies += [monday, *UNSCANNED, monday, tuesday, *UNSCANNED]
    over = ClamdScanner(address, now=lambda: NOW)
    assert [over.trusted for _ in range(3)] == [True] * 3
    assert replies == []


@pytest.mark.parametrize("alerts", ["yes", "no"])
def test_a_real_daemon_tells_of_the_files_it_is_tried_with_only_with_its_alerts(
    alerts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with daemon(tmp_path, alerts) as address:
        over = ClamdScanner(address, now=lambda: NOW)
        official = property(lambda _: "ClamAV 1.4.6/27830/Mon Nov 23 09:30:12 2026")
        monkeypatch.setattr(ClamdScanner, "engine", official)
        assert over.trusted is (alerts == "yes")


@pytest.mark.parametrize(
    ("version", "trusted"),
    [
        ("ClamAV 1.4.6/27830/Mon Nov 23 09:30:12 2026", True),
        ("ClamAV 1.4.6/27830/Sun Nov  1 09:30:12 2026", False),
        ("ClamAV 1.4.6/27830/a Tuesday", False),
        ("ClamAV 1.4.6", False),
    ],
)
def test_trust_needs_a_database_of_known_and_recent_date(
    scripted: tuple[str, list[bytes]], version: str, trusted: bool
) -> None:
    address, replies = scripted
    replies += [f"{version}\0".encode(), *UNSCANNED]
    over = ClamdScanner(address, now=lambda: NOW, database_age=timedelta(days=7))
    assert over.trusted is trusted


@pytest.mark.parametrize("reply", [b"stream: Can't allocate memory ERROR\0", b"", b"UNKNOWN COMMAND\0"])
def test_anything_else_is_an_error_and_never_clean(scripted: tuple[str, list[bytes]], reply: bytes) -> None:
    address, replies = scripted
    replies.append(reply)
    assert scan(ClamdScanner(address), b"x").verdict == "error"


def test_no_daemon(tmp_path: Path) -> None:
    absent = ClamdScanner(str(tmp_path / "none"))
    assert scan(absent, b"x").verdict == "error"
    with pytest.raises(UpstreamUnavailable):
        _ = absent.engine
    with pytest.raises(UpstreamUnavailable):
        _ = absent.trusted


def test_configured_or_not() -> None:
    assert scanner(Settings(clamd=None)) is None
    assert isinstance(scanner(Settings(clamd="[::1]:3310")), ClamdScanner)


def test_address_that_is_none() -> None:
    assert scan(ClamdScanner("clamd"), b"x").verdict == "error"
