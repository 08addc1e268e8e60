"""A scheduled run from its first page to its last record: records listed and harvested per second, and memory.

    python benchmarks/harvest_run.py [--records N] [--files N] [--workers N] [--seconds N]

A PostgreSQL of its own; the function `harvest` behind its real delivery in one process with so many workers; a store
that is a directory; a repository in another process, which is listed by its search. Nobody touches anything between
the beginning of the run and its end. `--seconds` ends the measurement early: what was reached by then is reported.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from perdura.cloudevents.codec import encode_binary
from perdura.cloudevents.message import CloudEvent
from perdura.registry import migrate
from perdura.registry import schedules as registry
from perdura.runtime import function, run_listing, schedules
from perdura.runtime.delivery import StepRunner
from perdura.runtime.environment import Environment
from perdura.runtime.extras import harvesting
from perdura.settings import Settings
from perdura.steps import harvest

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.directory_store import DirectoryStore
from benchmarks.registry import postgres
from tests.upstreams.repository import Repository
from tests.upstreams.server import serving

HARVEST = "org.perdura.harvest.requested.v1"


class Broker:
    """CloudEvents on their way: workers take them one by one."""

    def __init__(self) -> None:
        self.waiting: deque[CloudEvent] = deque()
        self.there = threading.Condition()
        self.over = False

    def emit(self, events: Sequence[CloudEvent]) -> None:
        """Take events that are for the function."""
        with self.there:
            self.waiting += [event for event in events if event.type in (HARVEST, schedules.LIST_REQUEST)]
            self.there.notify_all()

    def after_response(self, response: Response, events: Sequence[CloudEvent]) -> Response:
        """Take the events when the response is sent."""
        response.call_on_close(lambda: self.emit(events))
        return response

    def take(self) -> CloudEvent | None:
        """The next event; None at the end."""
        with self.there:
            while not self.waiting and not self.over:
                self.there.wait(0.2)
            return self.waiting.popleft() if self.waiting and not self.over else None

    def end(self) -> None:
        """Send the workers home."""
        with self.there:
            self.over = True
            self.there.notify_all()


def upstream(records: str, files: str) -> None:
    """Serve a repository until killed; prints its address."""
    repository = Repository()
    repository.fill(int(records), datetime(2026, 1, 1, tzinfo=UTC), files=int(files))
    with serving() as server:
        repository.base, server.fallback = server.base, repository.answer
        print(server.base, flush=True)
        threading.Event().wait()


def begun(environment: Environment, base: str, workers: int) -> Any:
    """Make a schedule and begin its run; the run and what is to be delivered first."""
    wanted = registry.Wanted(
        name="benchmark", source="demo", base_url=base, way="search", cron="0 3 * * *", pipeline=("harvest",),
        grace_seconds=0, concurrency=2 * workers,
    )  # fmt: skip
    with environment.engine.begin() as connection:
        due = datetime.now(UTC) + timedelta(days=1)
        schedule = registry.create(connection, wanted, owner=registry.Owner(None, "bench"), since=None, next_at=due)
    with environment.engine.begin() as connection:
        return schedules.run_now(connection, schedule)


def measure(arguments: argparse.Namespace, url: str, base: str, scratch: Path) -> bool:
    """Run it; False when not every record was harvested."""
    broker = Broker()
    environment = Environment(Settings(database_url=url, allow_loopback_upstreams=True))
    vars(environment).update(
        engine=create_engine(url, pool_size=arguments.workers + 2), store=DirectoryStore(scratch), emitter=broker
    )
    function.environment = lambda: environment
    runner = StepRunner("harvest", harvest.run, extras=harvesting, settle=schedules.settled, go_on=schedules.go_on)
    unit = function.Function("harvest", steps={HARVEST: runner}, requests={schedules.LIST_REQUEST: run_listing.deliver})

    @Request.application
    def application(request: Request) -> Response:
        return unit.respond(request)

    def work() -> None:
        client = Client(application)
        while (event := broker.take()) is not None:
            headers, body = encode_binary(event)
            with client.post("/", headers=headers, data=body) as response:
                response.get_data()

    run, events = begun(environment, base, arguments.workers)
    started = time.perf_counter()
    broker.emit(events)
    threads = [threading.Thread(target=work, daemon=True) for _ in range(arguments.workers)]
    for thread in threads:
        thread.start()
    listed_after: float | None = None
    counts: dict[str, int] = {}
    while time.perf_counter() - started < arguments.seconds:
        time.sleep(0.5)
        with environment.engine.connect() as connection:
            query = text("SELECT state, count(*) FROM harvest_item WHERE run_id = :run GROUP BY state")
            counts = {row[0]: row[1] for row in connection.execute(query, {"run": run})}
            state = connection.execute(text("SELECT state FROM harvest_run WHERE id = :run"), {"run": run}).scalar_one()
        if listed_after is None and state != "listing":
            listed_after = time.perf_counter() - started
        if state not in ("listing", "running"):
            break
    seconds = time.perf_counter() - started
    broker.end()
    for thread in threads:
        thread.join(30)
    done, usage = counts.get("done", 0), resource.getrusage(resource.RUSAGE_SELF)
    if listed_after is not None:
        print(f"listed: {arguments.records} records in {listed_after:.1f} s, {arguments.records / listed_after:.0f}/s")
    print(f"harvested: {done} records of {arguments.files} files in {seconds:.1f} s, {done / seconds:.1f}/s; {counts}")
    print(f"{usage.ru_utime + usage.ru_stime:.0f} s CPU, {usage.ru_maxrss // 1024} MiB at most")
    return done == arguments.records


def main() -> None:
    """Measure, and say whether every record came."""
    if len(sys.argv) > 1 and sys.argv[1] == "upstream":
        upstream(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=540)
    arguments = parser.parse_args()
    command = [sys.executable, __file__, "upstream", str(arguments.records), str(arguments.files)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        base = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory(prefix="harvest-run-") as scratch, postgres(None) as (url, _):
            migrate.upgrade(create_engine(url))
            good = measure(arguments, url, base, Path(scratch))
    finally:
        server.kill()
        server.wait()
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
