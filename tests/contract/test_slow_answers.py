"""Servers that send a byte now and then, so that no single read is ever silent for long."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from pydantic import SecretStr

from perdura.clients import connections
from perdura.clients.archivematica import exchange
from perdura.clients.archivematica.storage_service import StorageService
from perdura.clients.http import HttpClient, Limits
from perdura.clients.reach import Reach
from perdura.errors import UpstreamUnavailable
from perdura.fleet import ArchivematicaUnavailable
from perdura.storage.timed import TimeUp


@contextmanager
def trickling(at_once: bytes, piece: bytes) -> Iterator[str]:
    """The address of a server that answers with `at_once` and then with `piece` every 50 ms."""

    def answer() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(at_once)
                    while True:
                        time.sleep(0.05)
                        connection.sendall(piece)
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize(
    ("at_once", "piece"),
    [
        pytest.param(b"", b"H", id="a status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: ", b"a", id="a header"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="interim answers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0", id="the size of a chunk"),
    ],
)
def test_an_answer_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch, at_once: bytes, piece: bytes) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.5)
    reach = Reach(frozenset({"127.0.0.1"}), allow_loopback=True)
    began = time.monotonic()
    with (
        trickling(at_once, piece) as url,
        HttpClient(reach, user_agent="tests", limits=Limits(attempts=1)) as client,
        pytest.raises(UpstreamUnavailable),
    ):
        client.get(url)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("at_once", "piece"),
    [
        pytest.param(b"", b"H", id="a status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: ", b"a", id="a header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b" ", id="a body"),
    ],
)
def test_an_archivematica_that_trickles_is_given_up(
    monkeypatch: pytest.MonkeyPatch, at_once: bytes, piece: bytes
) -> None:
    monkeypatch.setattr(exchange, "WHOLE_SECONDS", 0.5)
    began = time.monotonic()
    with trickling(at_once, piece) as url, pytest.raises(ArchivematicaUnavailable):
        exchange.Exchange(url, "user", SecretStr("key")).ask("GET", "/api/v2beta/package/")
    assert time.monotonic() - began < 5


def test_the_first_byte_of_an_aip_is_waited_for_only_while_there_is_time() -> None:
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            pytest.raises(TimeUp),
            StorageService(exchange.Exchange(url, "user", SecretStr("key"))).download(
                UUID(int=1), lambda: time.monotonic() - began > 0.5
            ),
        ):
            pass
    assert time.monotonic() - began < 5


def test_a_slow_body_may_take_longer_as_long_as_pieces_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.5)
    reach = Reach(frozenset({"127.0.0.1"}), allow_loopback=True)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"
    with trickling(head, b"x") as url, HttpClient(reach, user_agent="tests") as client:
        assert client.get(url).body == b"x" * 20
