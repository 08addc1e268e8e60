"""Sources are told, from the facts on the broker to the receiver: I at ingest, P with proof, F, and D by a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.contract.test_inveniordm.fake import TOKENS, Fake, Item
from tests.stack import Stack, bag_tar, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

RECORD = "3kf7w-x2p61"


class Receivers:
    """An InvenioRDM that knows one record, and a webhook: both behind one address."""

    def __init__(self) -> None:
        self.invenio = Fake()
        self.invenio.items[RECORD] = Item(RECORD, "parent", 1, "publisher", published={})
        self.hooks: list[dict[str, Any]] = []
        self.url = ""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What InvenioRDM was told, in the order of arrival."""
        return self.invenio.preservations

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """The answer to one POST."""
        if path.startswith("/hook"):
            self.hooks.append(json.loads(body))
            return 204, b""
        with httpx.Client(base_url=self.invenio.url, transport=self.invenio.transport()) as client:
            answer = client.post(path, content=body, headers=headers)
        return answer.status_code, answer.content

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen on a free port of the loopback address."""
        receivers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept = {name: self.headers[name] for name in ("Authorization", "Content-Type") if self.headers[name]}
                status, told = receivers.answer(self.path, kept, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    made = Receivers()
    with made.listening():
        yield made


@pytest.fixture(scope="module")
def stack(receivers: Receivers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    path: Path = tmp_path_factory.mktemp("access") / "access.toml"
    token = path.with_name("token")
    token.write_text(TOKENS["archiver"])
    path.write_text(
        '[[notification]]\nid = "invenio"\ntype = "preservation-sync"\nsources = ["*"]\n'
        f'url = "{receivers.url}"\ntoken = {{ file = "{token}" }}\n'
        f'[[notification]]\nid = "catalogue"\ntype = "webhook"\nurl = "{receivers.url}/hook"\n'
    )
    with running_stack({"PERDURA_ACCESS": str(path)}) as running:
        yield running


def known(stack: Stack, archive: str, step: str) -> dict[str, Any]:
    """A step of an Archive as the API shows it."""
    return next((each for each in stack.steps(archive) if each["id"] == step), {})


def test_a_record_is_told_of_from_ingest_to_deletion(stack: Stack, receivers: Receivers) -> None:
    done = stack.command("harvest", f"{stack.urls['upstream']}/records/{RECORD}", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr
    archive = done.stdout.split()[1]
    stack.until(lambda: receivers.rows if len(receivers.rows) == 2 else None, 60, lambda: str(stack.steps(archive)))
    assert sorted(row["status"] for row in receivers.rows) == ["I", "P"]
    document = stack.archive(archive)
    aip = next(package for package in document["packages"] if package["kind"] == "AIP")
    proof = next(row for row in receivers.rows if row["status"] == "P")
    assert proof["pid"] == RECORD
    assert isinstance(proof["revision_id"], int)
    assert proof["description"]["aip"] == aip["id"]
    assert proof["description"]["checksums"]["sha512"] == aip["checksums"]["sha512"]
    assert httpx.get(proof["uri"]).status_code == 200

    asked = stack.api.post(
        f"/archives/{archive}/withdrawal", json={"reason": "retracted", "note": "by its author", "tell_source": True}
    )
    assert asked.status_code == 202, asked.text
    last = stack.until(lambda: receivers.rows[2] if len(receivers.rows) > 2 else None, 60)
    assert last["status"] == "D"
    assert last["description"]["reason"] == "retracted: by its author"
    assert httpx.get(proof["uri"]).status_code == 410
    assert [package["kind"] for package in stack.archive(archive)["packages"]] == [
        package["kind"] for package in document["packages"]
    ]

    again = stack.api.post(f"/archives/{archive}/notifications", json={"status": "P", "notification": "invenio"})
    assert again.status_code == 202
    step = again.json()["steps"][0]

    stack.until(lambda: {"id": step, "state": "completed"}.items() <= known(stack, archive, step).items(), 60)
    assert len(receivers.rows) == 3


def test_a_withdrawal_alone_is_no_deletion(stack: Stack, receivers: Receivers) -> None:
    archive = stack.deposit(bag_tar({"a.txt": b"kept"}))
    assert stack.finished(archive)["state"] == "completed", stack.steps(archive)
    stack.api.post(f"/archives/{archive}/withdrawal", json={"reason": "copyright"}).raise_for_status()

    def withdrawn() -> bool | None:
        steps = {step["name"]: step["state"] for step in stack.steps(archive)}
        return True if steps.get("withdraw") == "completed" else None

    stack.until(withdrawn, 60)
    statuses = {hook["data"]["status"] for hook in receivers.hooks if hook["data"]["archive"] == archive}
    assert "D" not in statuses


def test_a_failure_is_told_with_its_reason(stack: Stack, receivers: Receivers) -> None:
    archive = stack.deposit(b"this is no package at all" * 100)
    assert stack.finished(archive)["state"] in {"failed", "rejected"}

    def told() -> dict[str, Any] | None:
        mine = [hook for hook in receivers.hooks if hook["data"]["archive"] == archive]
        return mine[0] if mine else None

    hook = stack.until(told, 60, lambda: json.dumps(stack.steps(archive), indent=1))
    assert hook["type"] == "org.perdura.archive.failed.v1"
    assert hook["data"]["reason"]
