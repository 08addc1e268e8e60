"""A worker killed by SIGKILL at every request that it sends to an access system, and frozen in the middle of one."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, create_engine, text

from perdura.clients.inveniordm.wire import Wire
from perdura.errors import Retryable
from perdura.outcome import StepState
from perdura.registry import publication_leases
from perdura.registry.placements import RegistryPlacements
from perdura.steps import publish
from perdura.storage.memory import MemoryStore
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.meanwhile import World, known_world
from tests.contract.test_inveniordm.ports import ports_for
from tests.contract.test_inveniordm.world import Target

pytestmark = [pytest.mark.chaos, pytest.mark.stack, pytest.mark.timeout(120)]

LEASE = 2.0
REQUESTS = range(1, 15)
"""Those that a publication of three files sends."""

WORKER = """
import sys
from pathlib import Path
from tests.chaos.test_kill_publication import invocation
invocation(Path(sys.argv[1]))
"""


@dataclass
class Server:
    """The fake on a port; at the `fatal`-th request it does what is asked, and then something to the worker."""

    fake: Fake
    url: str = ""
    fatal: int = 0
    strike: Callable[[], None] = lambda: None
    seen: list[str] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request.method)
        with self.fake.transport() as transport:
            answer = transport.handle_request(request)
        if len(self.seen) == self.fatal:
            self.strike()
        return answer


@contextmanager
def listening(server: Server) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told = httpx.Request(self.command, server.url + self.path, headers=dict(self.headers), content=body)
            answer = server.answer(told)
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Location", "Retry-After"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PUT = do_DELETE = respond

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is printed."""

    class Listener(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A worker that died is no error of the server."""

    with Listener(("127.0.0.1", 0), Handler) as listener:
        server.url = server.fake.url = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        listener.shutdown()
        thread.join()


def invocation(work: Path) -> Any:
    """One invocation of the step by a worker of its own; what it needs lies in a file."""
    publication_leases.LEASE = LEASE
    told = pickle.loads(work.read_bytes())
    store = MemoryStore()
    for bucket, key, data in told["objects"]:
        store.put(bucket, key, data)
    engine = create_engine(told["database"])
    ports = ports_for(store, told["access"], RegistryPlacements(engine), told["archive"].step.id)
    try:
        return publish.run(told["archive"], ports, lambda each: Wire(each.url, TOKENS["publisher"]))
    finally:
        engine.dispose()


@dataclass
class Workers:
    """The server, an Archive for it, and workers that publish it."""

    server: Server
    world: World
    work: Path

    def start(self) -> subprocess.Popen[bytes]:
        """Begin an invocation in a process of its own."""
        return subprocess.Popen([sys.executable, "-c", WORKER, str(self.work)], cwd=Path(__file__).parents[2])

    def finish(self) -> Any:
        """What the broker and the watchdog do: ask again until it is done."""
        end = monotonic() + 30
        while True:
            try:
                return invocation(self.work)
            except Retryable as error:
                if error.code != "busy" or monotonic() > end:
                    raise
                sleep(0.1)

    def lease_ends(self, seconds: float) -> None:
        """The lease of a worker that died ends so many seconds from now, however slow this machine is."""
        with self.world.database.begin() as connection:
            ends = "UPDATE publication_lease SET ends_at = clock_timestamp() + interval '1 second' * :seconds"
            connection.execute(text(ends), {"seconds": seconds})

    def assert_published_once(self) -> None:
        (record,) = self.world.target.published(self.world.resource)
        assert self.world.target.drafts(self.world.resource) == []
        noted = self.world.placements.known("library", self.world.archive.id)
        assert noted is not None
        assert (noted.record, noted.state) == (record.id, "published")
        with self.world.database.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM publication_lease")).scalar_one() == 0


@pytest.fixture
def workers(database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setenv("LIBRARY_TOKEN", TOKENS["publisher"])
    monkeypatch.setattr(publication_leases, "LEASE", LEASE)
    with listening(Server(Fake())) as server:
        access = tmp_path / "access.toml"
        told = {"id": "library", "type": "inveniordm", "url": server.url}
        lines = [f"{name} = {json.dumps(value)}" for name, value in told.items()]
        access.write_text("\n".join(["[[destination]]", *lines, 'token = { env = "LIBRARY_TOKEN" }\n']))
        world = known_world(database, Target(server.url, TOKENS, server.fake.transport, server.fake), access)
        work = tmp_path / "work"
        work.write_bytes(
            pickle.dumps(
                {
                    "archive": world.archive,
                    "access": access,
                    "database": database.url.render_as_string(hide_password=False),
                    "objects": [
                        (package.bucket, key, world.store.read(world.store.head(package.bucket, key).ref))
                        for package in world.archive.packages
                        for key in (package.key, str(package.index_key))
                    ],
                }
            )
        )
        yield Workers(server, world, work)


def test_a_publication_sends_as_many_requests_as_are_killed(workers: Workers) -> None:
    assert workers.finish().state is StepState.COMPLETED
    assert len(workers.server.seen) == len(REQUESTS)


@pytest.mark.parametrize("fatal", REQUESTS)
def test_a_worker_killed_at_any_request_is_followed_and_there_is_one_record(workers: Workers, fatal: int) -> None:
    died = threading.Event()

    def kill() -> None:
        os.kill(worker.pid, signal.SIGKILL)
        died.set()

    workers.server.fatal, workers.server.strike = fatal, kill
    worker = workers.start()
    assert died.wait(30)
    assert worker.wait(10) == -signal.SIGKILL
    workers.lease_ends(60)
    with pytest.raises(Retryable, match="Another delivery"):
        invocation(workers.work)
    workers.lease_ends(0)
    outcome = workers.finish()
    assert outcome.state is StepState.COMPLETED, outcome.message
    workers.assert_published_once()


def test_a_worker_that_was_frozen_and_goes_on_publishes_nothing(workers: Workers) -> None:
    """It was taken for dead while it sent a file; the other is done when it wakes up."""
    frozen = threading.Event()

    def freeze() -> None:
        os.kill(worker.pid, signal.SIGSTOP)
        frozen.set()

    workers.server.fatal, workers.server.strike = len(REQUESTS) // 2, freeze
    worker = workers.start()
    assert frozen.wait(30)
    try:
        assert workers.finish().state is StepState.COMPLETED
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    worker.wait(30)
    workers.assert_published_once()
