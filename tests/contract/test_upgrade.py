"""An upgrade without loss: the version before works on, beside this one, on the database of this one.

Every function of either version goes on with what the other one began, in both directions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine, create_engine, text

from perdura.local.tape.library import Model
from perdura.local.tape.server import TapeServer
from perdura.local.upstream.records import records
from perdura.local.upstream.server import RepositoryServer
from perdura.premis.verify_stored import verify_database
from perdura.registry import migrate
from perdura.settings import Settings
from perdura.storage.s3 import S3Store
from tests.conftest import free_port
from tests.contract.side_by_side import TODAY, TOKEN, Broker, Version, requested
from tests.contract.version_before import version_before
from tests.stack import bag_tar
from tests.upstreams.repository import Repository
from tests.upstreams.server import serving

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

RECORD = "/records/3kf7w-x2p61"
PIPELINE = ("harvest", "ingest", "preserve", "archive-cta", "publish", "premis-log")
SECRET = "0123456789abcdef0123456789abcdef"
RECORDS = 2
DROP_ZONE = "perdura-incoming"
_names = count()


@pytest.fixture(scope="module")
def tree_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the version before."""
    tree = tmp_path_factory.mktemp("before")
    version_before().unpack(tree)
    return tree


@dataclass
class SideBySide:
    """Two versions and all that they share."""

    before: Version
    today: Version
    broker: Broker
    engine: Engine
    store: S3Store
    upstream: str
    """A repository of which one record is harvested."""
    repository: str
    """One that a schedule harvests."""

    def scalar(self, statement: str, **values: Any) -> Any:
        """One value out of the database."""
        with self.engine.connect() as connection:
            return connection.execute(text(statement), values).scalar()

    def until(self, look: Callable[[], bool], act: Callable[[], None], seconds: float = 60) -> None:
        """Act until it is so."""
        end = time.monotonic() + seconds
        while not look():
            assert time.monotonic() < end, json.dumps(self.states())
            act()
            time.sleep(0.2)

    def states(self) -> dict[str, int]:
        """How many steps there are by name and state."""
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT name || ' ' || state, count(*) FROM step GROUP BY 1"))
            return {str(what): number for what, number in rows}

    def due_again(self) -> None:
        """Let all recurring duties be due at the next tick."""
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE heartbeat SET done_at = done_at - interval '1 day'"))


@contextmanager
def gateway(tree: Path, environment: dict[str, str], port: int) -> Iterator[None]:
    """The aip-gateway of a version, served: from it the tape system reads."""
    application = f"functions_framework:create_app('handle','{tree}/functions/aip-gateway/main.py','http')"
    own = {**environment, "PYTHONPATH": str(tree / "shared"), "FUNCTION": "aip-gateway", "GRACEFUL_TIMEOUT": "5"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "python:perdura.runtime.server", application],
        env={**own, "HOST": "127.0.0.1", "PORT": str(port)}, cwd="/", stdout=sys.stderr, stderr=sys.stderr,
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                assert time.monotonic() < end, "the gateway does not answer"
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(params=["before first", "today first"])
def order(request: pytest.FixtureRequest) -> str:
    """Which version begins."""
    return str(request.param)


@pytest.fixture
def side_by_side(
    postgres_url: str, seaweedfs: Settings, tree_before: Path, tmp_path: Path, order: str
) -> Iterator[SideBySide]:
    name, port = f"upgraded{next(_names)}", free_port()
    assert seaweedfs.s3_secret_key is not None
    records()
    with ExitStack() as ending:
        admin = create_engine(f"{postgres_url}/postgres", isolation_level="AUTOCOMMIT")
        ending.callback(admin.dispose)
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine = create_engine(f"{postgres_url}/{name}")
        ending.callback(engine.dispose)
        # So slow that one version must leave its jobs to the other.
        model = Model(drives=1, mount=3, seek=1, keep=0, rate=0)
        tape = TapeServer(tmp_path / "tape", token="of-the-tape", model=model)
        tape.start()
        ending.callback(tape.stop)
        upstream = ending.enter_context(RepositoryServer(0))
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        ending.callback(upstream.shutdown)
        repository = Repository()
        repository.fill(RECORDS, datetime.now(UTC) - timedelta(days=1))
        listed = ending.enter_context(serving())
        repository.base, listed.fallback = listed.base, repository.answer
        store = S3Store(seaweedfs)
        ending.callback(store.close)
        for left in list(store.list(DROP_ZONE, "")):
            store.delete(left.ref)
        broker = Broker()
        environment = {
            "PATH": os.environ["PATH"],
            "K_SINK": ending.enter_context(broker.serving()),
            "PERDURA_DATABASE_URL": f"{postgres_url}/{name}",
            "PERDURA_S3_ENDPOINT": str(seaweedfs.s3_endpoint),
            "PERDURA_S3_ACCESS_KEY": str(seaweedfs.s3_access_key),
            "PERDURA_S3_SECRET_KEY": seaweedfs.s3_secret_key.get_secret_value(),
            "PERDURA_ADMIN_TOKEN": TOKEN,
            "PERDURA_VIRUS_SCAN": "off",
            "PERDURA_ALLOW_LOOPBACK_UPSTREAMS": "true",
            "PERDURA_TAPE_FTS_URL": tape.fts_url,
            "PERDURA_TAPE_ENDPOINT_URL": tape.endpoint_url,
            "PERDURA_TAPE_TOKEN": "of-the-tape",
            "PERDURA_TAPE_GATEWAY_URL": f"http://127.0.0.1:{port}",
            "PERDURA_TAPE_GATEWAY_SECRET": SECRET,
        }
        other = TODAY if order == "before first" else tree_before
        ending.enter_context(gateway(other, environment, port))
        trees = {"before": tree_before, "today": TODAY}
        both = [Version(which, tree, environment, tmp_path / "log") for which, tree in trees.items()]
        for version in both:
            ending.callback(version.end)
        base = f"http://127.0.0.1:{upstream.server_address[1]}"
        yield SideBySide(*both, broker, engine, store, base, repository.base)


def test_each_version_goes_on_with_what_the_other_began(side_by_side: SideBySide, order: str) -> None:
    both, broker = side_by_side, side_by_side.broker
    both.before.migrate()
    both.before.deliver("ingest", put(both, "first.tar", b"begun before the upgrade"))
    both.today.migrate()
    with both.engine.connect() as connection:
        assert migrate.current(connection) == migrate.HEAD

    here, there = (both.before, both.today) if order == "before first" else (both.today, both.before)
    turns = {name: (there, here)[place % 2] for place, name in enumerate(PIPELINE)}
    deposited = deposit(here, there)
    harvested = here.api("POST", "/harvests", {"url": both.upstream + RECORD})["archive"]
    schedule = here.api(
        "POST", "/schedules",
        {"name": "all", "source": "demo", "base_url": both.repository, "cron": "@daily", "grace_seconds": 0},
    )["id"]  # fmt: skip
    there.api("POST", f"/schedules/{schedule}/runs")
    refused(both, here, there)

    broker.forward(turns.__getitem__)
    assert both.states()["archive waiting"] >= 1, "sent to tape by one version, looked at by the other"
    finished = "SELECT count(*) FROM archive WHERE state IN ('completed', 'completed_with_warnings')"
    archives = 4 + RECORDS

    def looked_at() -> None:
        there.tick("archive-cta")
        there.tick("relay")
        broker.forward(turns.__getitem__)

    both.until(lambda: both.scalar(finished) == archives, looked_at)
    assert both.scalar("SELECT count(*) FROM archive") == archives
    assert both.scalar("SELECT count(*) FROM copy WHERE location = 'tape'") == archives
    for version in (here, there):
        published = version.api("GET", f"/archives/{harvested}")["publication"]["url"]
        assert version.ask("publish", "/" + published.split("/", 3)[3]).status == 200
    errands(both, here, there, turns.__getitem__, deposited)
    events(both, here, there)


def put(both: SideBySide, key: str, content: bytes) -> dict[str, Any]:
    """Put a bag into the drop zone; the event that tells of it."""
    both.store.put(DROP_ZONE, key, bag_tar({"letter.txt": content}))
    return requested("ingest", {"bucket": DROP_ZONE, "key": key}, key)


def deposit(here: Version, there: Version) -> str:
    """Announced to one version, completed by the other."""
    content = bag_tar({"letter.txt": f"announced to {here.name}".encode()})
    announced = here.api("POST", "/deposits", {"filename": "second.tar", "size": len(content)})
    upload = announced["upload"]
    httpx.put(upload["url"], content=content, headers=upload.get("headers") or {}).raise_for_status()
    there.api("POST", f"/deposits/{announced['id']}/complete")
    return str(announced["archive"])


def refused(both: SideBySide, here: Version, there: Version) -> None:
    """What the broker did not take from one version is sent by the relay of the other."""
    event = put(both, "third.tar", b"the broker was away")
    both.broker.refusing = True
    there.deliver("ingest", event)
    unsent = "SELECT count(*) FROM outbox WHERE delivered_at IS NULL"
    assert both.scalar(unsent) == 1
    both.broker.refusing = False
    both.until(lambda: both.scalar(unsent) == 0, lambda: here.tick("relay"))


def errands(both: SideBySide, here: Version, there: Version, choose: Callable[[str], Version], archive: str) -> None:
    """Recalled and withdrawn, asked of one version, and read again, all done by the one whose turn it is."""
    recall = here.api("POST", f"/archives/{archive}/recalls", {})["step"]
    both.broker.forward(choose)

    def state() -> str:
        items = there.api("GET", f"/archives/{archive}/steps")["items"]
        return str(next(step["state"] for step in items if step["id"] == recall))

    def looked_at() -> None:
        here.tick("archive-cta")
        here.tick("relay")
        both.broker.forward(choose)

    both.until(lambda: state() == "completed", looked_at)
    there.api("POST", f"/archives/{archive}/withdrawal", {"reason": "copyright"})
    both.broker.forward(choose)
    assert both.scalar("SELECT count(*) FROM placement WHERE state = 'withdrawn'") == 1
    package = both.scalar("SELECT id FROM package WHERE archive_id = :a AND kind = 'AIP'", a=archive)
    both.broker.waiting.append(requested("fixity", {"package": str(package)}, "again"))
    both.broker.forward(choose)
    verified = "SELECT count(*) FROM step WHERE name = 'verify' AND state = 'completed'"
    both.until(lambda: both.scalar(verified) == 1, looked_at)


def events(both: SideBySide, here: Version, there: Version) -> None:
    """Events recorded by both, read by both, sealed by one after the other."""
    names = {}
    for version in (here, there):
        name = names[version.name] = str(uuid4())
        told = {"type": "fixity check", "date": "2026-01-01", "objects": [{"type": "UUID", "value": name}]}
        version.deliver("premis-log", requested("premis.record", {"events": [told]}, name))
        both.due_again()
        version.tick("relay")
    for version in (here, there):
        for name in names.values():
            answer = version.ask("premis-log", f"/event/search.json?link_object_id={name}")
            assert (answer.status, len(json.loads(answer.body)["feed"]["entry"])) == (200, 1), answer
    with both.engine.connect() as connection:
        report = verify_database(connection)
    assert not report.findings
    assert both.scalar("SELECT count(*) FROM premis_unsealed") == 0
