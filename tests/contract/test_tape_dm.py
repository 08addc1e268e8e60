"""The FTS emulator looks at a storage for its user: `/dm/stat` and `/dm/list` (fts-cta.md 2.14)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from perdura.local.tape.http import Request, Response, Server
from perdura.local.tape.library import Model
from perdura.local.tape.server import TapeServer

TOKEN = {"Authorization": "Bearer secret"}


@pytest.fixture
def library(tmp_path: Path) -> Iterator[TapeServer]:
    server = TapeServer(tmp_path, token="secret", model=Model(mount=0.01, seek=0.001, keep=60.0, rate=0))
    server.start()
    httpx.put(f"{server.endpoint_url}/perdura/a%20letter.tar", content=b"letters", headers=TOKEN)
    httpx.request("MKCOL", f"{server.endpoint_url}/perdura/2026", headers=TOKEN)
    yield server
    server.stop()


def asked(library: TapeServer, act: str, surl: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{library.fts_url}/dm/{act}", params={"surl": surl}, headers=headers or TOKEN)


def test_a_file_and_its_directory_are_described(library: TapeServer) -> None:
    place = f"{library.endpoint_url}/perdura"
    file = asked(library, "stat", f"{place}/a%20letter.tar").json()
    assert (oct(file["mode"]), file["size"], file["nlink"]) == ("0o100644", 7, 1)
    assert file["mtime"] == file["ctime"] == file["atime"] > 1_700_000_000
    directory = asked(library, "stat", place).json()
    assert oct(directory["mode"]) == "0o40755"
    listed = asked(library, "list", place).json()
    assert listed.keys() == {"a letter.tar", "2026/"}
    assert oct(listed["2026/"]["mode"]) == "0o40755"
    assert listed["a letter.tar"] == {"size": 7, "mode": file["mode"], "mtime": file["mtime"]}


@pytest.mark.parametrize(
    ("act", "surl", "status", "message"),
    [
        ("stat", "{endpoint}/perdura/nothing", 404, "[2] Result HTTP 404"),
        ("list", "{endpoint}/perdura/a%20letter.tar", 400, "[20] Not a directory"),
        ("stat", "http://127.0.0.1:9/x", 500, "[112] Result Could not connect to server after 1 attempts"),
        ("stat", "srm://storage.example.org/x", 400, "[93] Protocol not supported"),
        ("stat", "file:///etc/hosts", 400, "Forbiden SURL scheme"),
        ("list", "", 400, "Missing surl parameter"),
    ],
)
def test_what_cannot_be_looked_at_is_answered_by_its_errno(
    library: TapeServer, act: str, surl: str, status: int, message: str
) -> None:
    answer = asked(library, act, surl.format(endpoint=library.endpoint_url))
    assert answer.status_code == status
    assert answer.json()["message"].startswith(message)


def test_strangers_look_at_nothing(library: TapeServer) -> None:
    answer = asked(library, "stat", f"{library.endpoint_url}/perdura", Accept="application/json")
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "body",
    [b"", b"<D:multistatus", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b'<multistatus xmlns="DAV:"/>',
     b'<multistatus xmlns="DAV:"><response><href>/x</href><getcontentlength>many</getcontentlength></response>'
     b"</multistatus>"],
)  # fmt: skip
def test_a_storage_that_answers_nonsense_is_no_crash(library: TapeServer, body: bytes) -> None:
    def answer(asked: Request) -> Response:
        return Response(207, body)

    nonsense = Server(0, answer)
    nonsense.start()
    try:
        found = asked(library, "stat", f"{nonsense.url}/x")
    finally:
        nonsense.stop()
    assert found.status_code == 500
    assert found.json()["message"] == "[5] Result Malformed server response after 1 attempts"
