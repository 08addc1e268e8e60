"""Two versions of Perdura at work on one database, one store, one tape system and one broker."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from perdura.cloudevents.build import build
from perdura.cloudevents.catalogue import TICK
from perdura.cloudevents.codec import encode_binary
from perdura.cloudevents.message import CloudEvent
from perdura.local.broker.envelope import Envelope
from perdura.local.broker.topology import read_topology

TODAY = Path(__file__).resolve().parents[2]
BROKER = "perdura/default"
TRY_AGAIN = {409, 429, 503}
ANSWER_SECONDS = 90
TOKEN = "of-an-administrator"

Message = dict[str, Any]
"""Headers and body of one CloudEvent in binary mode."""


def message(event: CloudEvent) -> Message:
    """A CloudEvent as it goes over the wire."""
    headers, body = encode_binary(event)
    return {"headers": headers, "body": body.decode()}


@dataclass(frozen=True)
class Answer:
    """What a function said."""

    status: int
    headers: dict[str, str]
    body: str

    def json(self) -> Any:
        """Its body, which is JSON."""
        return json.loads(self.body)


class Version:
    """The functions of one tree, in a process of their own."""

    def __init__(self, name: str, tree: Path, environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.tree = tree
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("invoke_function.py"), tree],
                env={**environment, "PYTHONPATH": str(tree / "shared")}, cwd="/", stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=output, text=True,
            )  # fmt: skip

    def ask(
        self,
        function: str,
        path: str = "/",
        *,
        method: str = "GET",
        body: str = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request to a function of this version."""
        asked = {"function": function, "method": method, "path": path, "headers": headers or {}, "body": body}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        line = self._process.stdout.readline() if ready else ""
        assert line, f"{self.name} {function} said nothing: {self._log.read_text()[-3000:]}"
        return Answer(**json.loads(line))

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """What its REST API answers the administrator."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        text = "" if body is None else json.dumps(body)
        answer = self.ask("registry", f"/api/v1{path}", method=method, headers=headers, body=text)
        assert answer.status < 300, (self.name, path, answer.status, answer.body)
        return answer.json()

    def migrate(self) -> None:
        """Bring the database to the schema of this version."""
        assert self.ask("migrate").status == 204

    def deliver(self, function: str, sent: Message) -> None:
        """Deliver one event as a broker does: again, while the function asks for it."""
        for _ in range(20):
            answer = self.ask(function, method="POST", headers=sent["headers"], body=sent["body"])
            if answer.status not in TRY_AGAIN:
                break
            time.sleep(0.5)
        assert answer.status == 204, (self.name, function, answer, self._log.read_text()[-3000:])

    def tick(self, function: str) -> None:
        """What a PingSource sends."""
        self.deliver(function, message(CloudEvent(id=str(uuid4()), source="/ticks", type=TICK, data={})))

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate(timeout=20)


@dataclass
class Broker:
    """Takes events as the broker does and hands them out as the Triggers say; whoever is told to may be refused."""

    waiting: deque[Message] = field(default_factory=deque)
    taken: list[str] = field(default_factory=list)
    """The types of all events, as they came."""
    refusing: bool = False

    @cached_property
    def _triggers(self) -> Any:
        return read_topology(TODAY / "infra/knative/base").triggers[BROKER]

    def subscribers(self, sent: Message) -> list[str]:
        """Which functions a CloudEvent goes to."""
        attributes = {name[3:].lower(): value for name, value in sent["headers"].items() if name.lower()[:3] == "ce-"}
        event = Envelope(attributes, b"")
        return [str(trigger.subscriber["ref"]["name"]) for trigger in self._triggers if trigger.wants(event)]

    def forward(self, choose: Callable[[str], Version]) -> None:
        """Deliver what waits and all that follows from it; `choose` says by which version of a function."""
        while self.waiting:
            sent = self.waiting.popleft()
            for function in self.subscribers(sent):
                choose(function).deliver(function, sent)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The URL under which it takes events."""
        broker = self

        class Ingress(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                wanted = ("ce-", "content-t")
                headers = {name: value for name, value in self.headers.items() if name.lower().startswith(wanted)}
                if not broker.refusing:
                    broker.taken.append(str(self.headers["ce-type"]))
                    broker.waiting.append({"headers": headers, "body": body})
                self.send_response(503 if broker.refusing else 202)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Ingress)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            server.server_close()


def requested(step: str, data: dict[str, Any], key: str) -> Message:
    """A CloudEvent that asks for something, as the world outside sends it."""
    return message(build(f"org.perdura.{step}.requested.v1", data, source="/test", at=datetime.now(UTC), key=key))
