from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdura.errors import Broken, Conflict
from perdura.local import stack, supervisor
from perdura.local.plan import Plan
from perdura.local.process import Identity, Program, boot
from perdura.local.state import Home, Lock, open_home
from perdura.local.status import ProcessState, StackState, Status, read_status, write_status

PREPARED = """
import os
for part in ("database", "migrations", "store", "buckets"):
    os.write(int(os.environ["PREPARE_REPORT"]), b'{"done": "%s"}\\n' % part.encode())
"""
SLEEP = "import time; time.sleep(600)"
SERVE = """
import http.server, sys
class Well(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Well).serve_forever()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(tmp_path / "home")


def program(home: Home, name: str, code: str, *arguments: str, health: str | None = None) -> Program:
    argv = (sys.executable, "-c", code, *arguments)
    return Program(name, argv, home.root, home.log(name), {}, health=health)


def plan(home: Home, services: dict[str, str], *, preparation: str = PREPARED, broker: str = SLEEP) -> Plan:
    return Plan(
        services=tuple(program(home, name, code) for name, code in services.items()),
        preparation=program(home, "prepare", preparation),
        functions=(),
        broker=program(home, "broker", broker),
        urls={"s3": "http://127.0.0.1:1"},
        database=None,
    )


class Running:
    """A supervisor in a process of its own: signals belong to the main thread of one."""

    def __init__(self, home: Home, services: dict[str, str], **more: str) -> None:
        self.home = home
        code = textwrap.dedent(
            """
            import json, sys
            from pathlib import Path
            from perdura.local.state import open_home
            from perdura.local.supervisor import Supervisor
            from tests.unit.local.test_supervisor import plan
            home = open_home(Path(sys.argv[1]))
            services, more = json.loads(sys.argv[2]), json.loads(sys.argv[3])
            sys.exit(Supervisor(home, plan(home, services, **more), lambda line: print(line, flush=True)).run())
            """
        )
        root = Path(__file__).resolve().parents[3]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(home.root), json.dumps(services), json.dumps(more)],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until(self, condition: Callable[[Status], object], seconds: float = 30) -> Status:
        deadline = time.monotonic() + seconds
        while True:
            status = read_status(self.home)
            if condition(status):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=30)
        return self.process.returncode, output


@pytest.fixture
def start(home: Home) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(services: dict[str, str], **more: str) -> Running:
        started.append(Running(home, services, **more))
        return started[-1]

    yield run
    for running in started:
        running.process.kill()
        running.process.communicate()
    stack.down(home)


def of(status: Status, name: str) -> tuple[int, int]:
    line = next(line for line in status.processes if line.name == name)
    return line.pid, line.restarts


def test_delays_double_up_to_half_a_minute() -> None:
    assert [supervisor.restart_delay(crashes) for crashes in (1, 2, 3, 9, 99)] == [0.2, 0.4, 0.8, 30, 30]


def test_a_stack_runs_and_leaves_nothing(start: Callable[..., Running]) -> None:
    running = start({"one": SLEEP, "two": SLEEP})
    status = running.until(lambda status: status.state is StackState.RUNNING)
    assert [line.name for line in status.processes] == ["broker", "one", "two"]
    identities = [line.identity for line in status.processes]
    assert all(identity.alive() for identity in identities)
    returncode, output = running.end()
    assert (returncode, "stopped" in output) == (0, True)
    assert not any(identity.alive() for identity in identities)
    assert read_status(running.home).state is StackState.STOPPED


def test_what_crashes_is_started_again(start: Callable[..., Running]) -> None:
    running = start({"one": SLEEP, "two": SLEEP})
    before = running.until(lambda status: status.state is StackState.RUNNING)
    pid, _ = of(before, "one")
    os.kill(pid, signal.SIGKILL)
    after = running.until(lambda status: status.state is StackState.RUNNING and of(status, "one")[0] not in (0, pid))
    assert of(after, "one")[1] == 1
    assert of(after, "two") == of(before, "two")


def test_what_never_stays_up_fails_the_start_with_its_log(start: Callable[..., Running]) -> None:
    running = start({"one": "raise SystemExit('no disk for me')", "two": SLEEP})
    running.process.wait(30)
    status = read_status(running.home)
    assert running.process.returncode == 1
    assert status.state is StackState.FAILED
    assert status.reason is not None
    assert "one does not stay up" in status.reason
    assert "no disk for me" in status.reason
    assert not [line for line in status.processes if line.pid and line.identity.alive()]


def test_a_failed_preparation_fails_the_start(start: Callable[..., Running]) -> None:
    failed = """import os; os.write(int(os.environ["PREPARE_REPORT"]), b'{"failed": "store open to all"}\\n')"""
    running = start({"one": SLEEP}, preparation=f"{failed}; raise SystemExit(1)")
    running.process.wait(30)
    assert read_status(running.home).reason == "store open to all"


def test_a_preparation_that_dies_fails_the_start_with_its_log(start: Callable[..., Running]) -> None:
    running = start({"one": SLEEP}, preparation="raise SystemExit('half way')")
    running.process.wait(30)
    reason = read_status(running.home).reason
    assert reason is not None
    assert "half way" in reason


def test_the_broker_waits_for_the_migrations(start: Callable[..., Running], tmp_path: Path) -> None:
    waiting = f"""
import os, time
os.write(int(os.environ["PREPARE_REPORT"]), b'{{"done": "database"}}\\n')
while not os.path.exists({str(tmp_path / "go")!r}): time.sleep(0.02)
{PREPARED}
"""
    running = start({"one": SLEEP}, preparation=waiting)
    status = running.until(lambda status: any(line.name == "one" for line in status.processes))
    assert "broker" not in [line.name for line in status.processes]
    (tmp_path / "go").touch()
    running.until(lambda status: status.state is StackState.RUNNING and of(status, "broker"))


def test_down_ends_what_a_killed_supervisor_left(start: Callable[..., Running]) -> None:
    running = start({"one": SLEEP})
    status = running.until(lambda status: status.state is StackState.RUNNING)
    running.process.kill()
    running.process.wait()
    left = read_status(running.home)
    assert left.state is StackState.STOPPED
    assert {line.name for line in left.processes} == {"one", "broker"}
    assert stack.down(running.home)
    assert not any(line.identity.alive() for line in status.processes)
    assert not stack.down(running.home)


def test_a_new_start_ends_what_a_killed_supervisor_left(start: Callable[..., Running]) -> None:
    first = start({"one": SLEEP})
    status = first.until(lambda status: status.state is StackState.RUNNING)
    first.process.kill()
    first.process.wait()
    second = start({"one": SLEEP})
    second.until(lambda status: status.state is StackState.RUNNING)
    assert not any(line.identity.alive() for line in status.processes)


def test_processes_of_another_boot_are_not_ours(home: Home) -> None:
    me = Identity.of(os.getpid())
    assert me is not None
    line = {"name": "one", "pid": me.pid, "started": me.started, "state": "running", "since": "2026-01-01T00:00:00Z"}
    state = {"state": "running", "supervisor": [me.pid, me.started], "processes": [line]}
    write_status(home, Status.model_validate({**state, "boot": "another"}))
    assert read_status(home).processes == ()
    assert read_status(home).state is StackState.STOPPED
    write_status(home, Status.model_validate({**state, "boot": boot()}))
    assert read_status(home).state is StackState.RUNNING


def test_a_locked_home_is_not_started_twice(home: Home) -> None:
    lock = Lock(home)
    assert lock.acquire()
    with pytest.raises(Conflict, match="already runs"):
        stack.detach(home, print)
    with pytest.raises(Conflict, match="already runs"):
        stack.reset(home)
    lock.release()


def test_a_plan_that_cannot_be_made_is_remembered_as_the_reason(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def impossible(*_: object) -> Plan:
        raise Broken("no PostgreSQL")

    monkeypatch.setattr("perdura.local.plan.make_plan", impossible)
    with pytest.raises(Broken, match="no PostgreSQL"):
        stack.run(home, print)
    status = read_status(home)
    assert (status.state, status.reason) == (StackState.FAILED, "no PostgreSQL")


def test_a_silent_process_is_unhealthy_then_started_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "UNHEALTHY_SECONDS", 0.3)
    monkeypatch.setattr("perdura.local.health.STEADY_SECONDS", 0.1)
    monkeypatch.setattr("perdura.local.health.ANSWER_SECONDS", 0.2)
    from perdura.local.ports import choose

    port = choose(["one"], None, {})["one"]
    url = f"http://127.0.0.1:{port}/healthz"
    one = program(home, "one", SERVE, str(port), health=url)
    whole = Plan((), program(home, "prepare", PREPARED), (one,), program(home, "broker", SLEEP), {}, None)
    states: list[ProcessState] = []

    def interfere() -> None:
        stopped = 0
        while True:
            time.sleep(0.05)
            status = read_status(home)
            line = next((line for line in status.processes if line.name == "one"), None)
            if line is None or status.state is StackState.STARTING:
                continue
            states.append(line.state)
            if not stopped:
                stopped = line.pid
                os.kill(line.pid, signal.SIGSTOP)
            elif line.pid not in (0, stopped) and line.state is ProcessState.RUNNING:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=interfere)
    thread.start()
    assert supervisor.Supervisor(home, whole, print).run() == 0
    thread.join()
    assert ProcessState.CRASHED in states or ProcessState.STARTING in states
