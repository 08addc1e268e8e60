"""The embedded services, really started: authenticated, on the loopback address only, durable, gone afterwards."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from perdura.errors import Broken, StoreUnavailable
from perdura.local import postgres, seaweedfs
from perdura.local.process import Identity, session_of
from perdura.local.state import Home, open_home, remembered_ports
from perdura.local.status import StackState, Status, read_status
from perdura.settings import Settings
from perdura.storage.s3 import S3Store
from tests.stack import Stack

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def services() -> Iterator[Stack]:
    """Database and object store of a home of their own."""
    try:
        postgres.find_binaries()
        seaweedfs.find_binary()
    except Broken as error:
        pytest.skip(error.message)
    with TemporaryDirectory(prefix="perdura-") as folder:
        running = Stack(Path(folder) / "home")
        done = running.command("up", "--services-only", "--detach")
        assert done.returncode == 0, done.stdout + done.stderr
        yield running
        running.down()


@pytest.fixture
def home(services: Stack) -> Home:
    return open_home(services.home)


@pytest.fixture
def store(home: Home) -> Iterator[S3Store]:
    endpoint = f"http://127.0.0.1:{remembered_ports(home)[seaweedfs.NAME]}"
    opened = S3Store(Settings(s3_endpoint=endpoint, s3_access_key="perdura", s3_secret_key=home.secret("s3")))
    yield opened
    opened.close()


def psql(home: Home, statement: str, *, host: str = "127.0.0.1", password: str | None = None) -> str:
    """What a statement of the application's role answers; raises CalledProcessError where it is refused."""
    program = postgres.find_binaries().program("psql")
    port = str(remembered_ports(home)[postgres.NAME])
    account = {"PGPASSWORD": password or home.secret("database"), "PGCONNECT_TIMEOUT": "20", "LC_ALL": "C.UTF-8"}
    address = ["-h", host, "-p", port, "-U", postgres.ROLE, "-d", postgres.DATABASE]
    done = subprocess.run(
        [program, "-X", "-A", "-t", *address, "-c", statement], env=account, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def until(home: Home, condition: Callable[[Status], object]) -> Status:
    deadline = time.monotonic() + 60
    while not condition(status := read_status(home)):
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return status


def kill_and_wait(home: Home, name: str) -> None:
    """Kill a process hard and wait until another one of that name runs."""
    before = next(line for line in read_status(home).processes if line.name == name)
    assert before.identity.signal(signal.SIGKILL)
    until(
        home,
        lambda status: (
            status.state is StackState.RUNNING
            and any(line.name == name and line.pid not in (0, before.pid) for line in status.processes)
        ),
    )


def test_a_second_start_says_that_it_runs(services: Stack) -> None:
    for arguments in (["up"], ["up", "--detach"]):
        done = services.command(*arguments)
        assert done.returncode == 1
        assert "already runs" in done.stderr


def test_a_running_stack_is_not_reset(services: Stack) -> None:
    assert services.command("reset", "--yes").returncode == 1
    assert services.home.is_dir()


def test_everything_listens_on_the_loopback_address_only(home: Home) -> None:
    members = {member.pid for line in read_status(home).processes for member in session_of(line.identity)}
    listening = [
        connection.laddr
        for pid in members
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_no_secret_is_in_a_command_line_or_a_readable_file(home: Home) -> None:
    secrets = [path.read_text() for path in (home.root / "secrets").iterdir()]
    assert len(secrets) >= 4
    for line in read_status(home).processes:
        for member in session_of(line.identity):
            command = " ".join(psutil.Process(member.pid).cmdline())
            assert not [secret for secret in secrets if secret in command]
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
    ours = [path for path in home.root.rglob("*") if path.is_file() and "seaweedfs/data" not in str(path)]
    assert [path for path in ours if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


@pytest.mark.parametrize("way", ["127.0.0.1", "socket"])
def test_the_database_wants_a_password(home: Home, way: str) -> None:
    host = str(home.root / "run") if way == "socket" else way
    assert psql(home, "SELECT 1", host=host) == "1"
    with pytest.raises(subprocess.CalledProcessError) as refused:
        psql(home, "SELECT 1", host=host, password="wrong")
    assert "password authentication failed" in refused.value.stderr


def test_the_application_is_no_superuser(home: Home) -> None:
    answer = psql(
        home,
        "SELECT rolsuper, current_setting('data_checksums'), current_setting('server_encoding') "
        "FROM pg_roles WHERE rolname = current_user",
    )
    assert answer == "f|on|UTF8"


def test_strangers_may_not_write_into_the_store(home: Home) -> None:
    first = remembered_ports(home)[seaweedfs.NAME]
    for url in (f"http://127.0.0.1:{first}/perdura-incoming/x", f"http://127.0.0.1:{first + 2}/buckets/perdura-aips/x"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, data=b"x", method="PUT"), timeout=10)
        assert refused.value.code in (401, 403)
        refused.value.close()


def test_objects_are_synced_before_they_are_acknowledged(home: Home) -> None:
    assert (home.data(seaweedfs.NAME) / "conf" / "fsync").exists()


def test_acknowledged_objects_survive_the_death_of_the_store(home: Home, store: S3Store) -> None:
    kept = [store.put("perdura-sips", f"kept/{number}", bytes([number]) * 5000).info.ref for number in range(20)]
    kill_and_wait(home, seaweedfs.NAME)
    deadline = time.monotonic() + 30
    while True:
        try:
            assert [store.read(ref) for ref in kept] == [bytes([number]) * 5000 for number in range(20)]
            return
        except StoreUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_committed_rows_survive_the_death_of_the_database(home: Home) -> None:
    psql(home, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
    kill_and_wait(home, postgres.NAME)
    deadline = time.monotonic() + 30
    while True:
        try:
            assert psql(home, "SELECT count(*) FROM kept") == "1000"
            break
        except subprocess.CalledProcessError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    psql(home, "DROP TABLE kept")


def test_a_stack_keeps_its_ports_its_secrets_and_its_data(services: Stack, store: S3Store) -> None:
    ref = store.put("perdura-sips", "kept/over-restart", b"here").info.ref
    before = (services.status()["urls"], (services.home / "secrets" / "s3").read_text())
    members = [line.identity for line in read_status(open_home(services.home)).processes]
    services.down()
    assert not any(member.alive() for member in members)
    assert services.status()["state"] == "stopped"
    done = services.command("up", "--services-only", "--detach")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (services.status()["urls"], (services.home / "secrets" / "s3").read_text()) == before
    assert store.read(ref) == b"here"


def test_a_killed_supervisor_is_cleaned_up_after(services: Stack, home: Home) -> None:
    status = read_status(home)
    assert status.supervisor is not None
    leaders = [line.identity for line in status.processes]
    os.kill(status.supervisor[0], signal.SIGKILL)
    assert services.status()["state"] == "stopped"
    done = services.command("up", "--services-only", "--detach")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any(leader.alive() for leader in leaders)


def test_a_lock_file_that_names_somebody_else_is_forgotten(services: Stack, home: Home) -> None:
    services.down()
    me = Identity.of(os.getpid())
    assert me is not None
    lock = home.data(postgres.NAME) / "cluster" / "postmaster.pid"
    lock.write_text(f"{me.pid}\n{lock.parent}\n1\n5432\n\n\n\n")
    done = services.command("up", "--services-only", "--detach")
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_major_version_of_the_database_is_refused(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    server = postgres.Server(home, 1, tmp_path, postgres.Binaries(Path("/nowhere"), 18), ())
    server.data.mkdir()
    (server.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(Broken, match=f"of PostgreSQL 17, the binaries are 18; set {postgres.BINARIES_VARIABLE}"):
        postgres.initialise(server)


def test_existing_services_are_used_and_not_started(services: Stack, home: Home) -> None:
    port = remembered_ports(home)
    database = f"{postgres.ROLE}:{home.secret('database')}@127.0.0.1:{port[postgres.NAME]}/{postgres.DATABASE}"
    existing = {
        "PERDURA_DATABASE_URL": f"postgresql+pg8000://{database}",
        "PERDURA_S3_ENDPOINT": f"http://127.0.0.1:{port[seaweedfs.NAME]}",
        "PERDURA_S3_ACCESS_KEY": seaweedfs.ACCESS_KEY,
        "PERDURA_S3_SECRET_KEY": home.secret("s3"),
    }
    with TemporaryDirectory(prefix="perdura-") as folder:
        guest = Stack(Path(folder) / "home", existing)
        done = guest.command("up", "--services-only", "--detach")
        assert done.returncode == 0, done.stdout + done.stderr
        status = guest.status()
        guest.down()
    assert (status["state"], status["processes"]) == ("running", [])
    assert status["urls"]["s3"] == existing["PERDURA_S3_ENDPOINT"]
