"""Harvest beside CERN's bagit-create: seconds and memory for many small files, one large file, and plans per second.

    python benchmarks/harvest.py [--bic PATH/bic] [--large MIB] [--records N] [--report FILE]

Both harvest the same bytes from one upstream on this machine, and from a folder, each in a process of its own; both
write to a directory. Ours hashes MD5, SHA-256 and SHA-512 and compares what was declared; bagit-create (1.5.3, GPL, run
as a program when `--bic` names one) hashes MD5, and SHA-1 for folders.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

SMALL_FILES = 1000
SMALL = 4096
PLANNED_FILES = 3
TOGETHER = 4
"""Large files of one record, which are fetched at the same time: what memory is measured by."""

MEMORY = 200
"""MiB that no harvest of ours may exceed."""

REDIRECT = """
import os, re, requests
if os.environ.get("HARVEST_BENCH_UPSTREAM"):
    inner = requests.sessions.Session.request
    def request(self, method, url, *a, **k):
        answer = inner(self, method, re.sub(r"^https?://", os.environ["HARVEST_BENCH_UPSTREAM"] + "/", url), *a, **k)
        answer.url = url
        return answer
    requests.sessions.Session.request = request
"""
"""Site module for bagit-create's environment: sends its requests to the upstream on this machine."""


# ------------------------------------------------------------------------------------------------------ upstream


def content(number: int) -> bytes:
    """Bytes of one small file, no two alike."""
    return hashlib.sha512(str(number).encode()).digest() * (SMALL // 64)


class Handler(BaseHTTPRequestHandler):
    """InvenioRDM's routes for the records `many`, `large` and any other; real host names may stand before the path."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    large: Path
    large_md5: str

    def do_GET(self) -> None:
        """Answer a read."""
        path = unquote(urlsplit(self.path).path)
        match = re.fullmatch(r"(/zenodo\.org)?/api/records/([^/]+)(/files)?(?:/([^/]+)/content)?", path)
        if match is None:
            return self._send(b"{}", 404)
        base = "https://zenodo.org" if match[1] else f"http://{self.headers['Host']}"
        if (match[4] or "").startswith("large"):
            return self._large()
        if match[4]:
            return self._send(content(int(match[4].removesuffix(".dat"))), kind="application/octet-stream")
        value = self._files(match[2], base) if match[3] else self._record(match[2], base)
        return self._send(json.dumps(value).encode())

    def _record(self, recid: str, base: str) -> dict[str, Any]:
        return {
            "id": recid,
            "revision_id": 1,
            "updated": "2026-01-01T00:00:00+00:00",
            "metadata": {"title": f"Record {recid}", "creators": [{"person_or_org": {"name": "Exemplar"}}]},
            "links": {"self_html": f"{base}/records/{recid}", "files": f"{base}/api/records/{recid}/files"},
            "files": {"enabled": True},
            "access": {"status": "open"},
        }

    def _files(self, recid: str, base: str) -> dict[str, Any]:
        api = f"{base}/api/records/{recid}/files"
        if recid == "2":
            files = [("large.bin", self.large.stat().st_size, self.large_md5)]
        elif recid == "3":
            files = [(f"large-{n}.bin", self.large.stat().st_size, self.large_md5) for n in range(TOGETHER)]
        else:
            first, count = (0, SMALL_FILES) if recid == "1" else (int(recid) * 3, PLANNED_FILES)
            numbers = range(first, first + count)
            files = [(f"{n}.dat", SMALL, hashlib.md5(content(n)).hexdigest()) for n in numbers]
        entries = [
            {
                "key": k,
                "size": s,
                "checksum": f"md5:{m}",
                "status": "completed",
                "links": {"content": f"{api}/{k}/content"},
            }
            for k, s, m in files
        ]
        return {"enabled": True, "entries": entries}

    def _large(self) -> None:
        size = self.large.stat().st_size
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.flush()
        with self.large.open("rb") as file:
            self.connection.sendfile(file)

    def _send(self, body: bytes, status: int = 200, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def serve(large: str, md5: str) -> None:
    """Serve until killed; prints the port."""
    Handler.large, Handler.large_md5 = Path(large), md5
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


# ----------------------------------------------------------------------------------------------- ours, in a process


def ours(url: str, target: str, roots: str) -> None:
    """Harvest one record into a directory."""
    from uuid import UUID

    from benchmarks.directory_store import DirectoryStore

    from perdura.ids import derived_id
    from perdura.outcome import ArchiveView, StepState, StepView
    from perdura.ports import Ports
    from perdura.settings import Settings
    from perdura.steps.harvest import run

    class Now:
        def now(self) -> datetime:
            return datetime.now(UTC)

    class Never:
        def near(self) -> bool:
            return False

    step = UUID(int=1)
    ports = Ports(
        settings=Settings(allow_loopback_upstreams=True, harvest_local_roots=roots or None),
        store=DirectoryStore(Path(target)),
        clock=Now(),
        deadline=Never(),
        intents=None,  # type: ignore[arg-type]
        progress=lambda *_: None,
        derived=lambda name: derived_id(step, name),
    )
    outcome = run(ArchiveView(UUID(int=2), StepView(step, "harvest", 1, {"url": url})), ports)
    if outcome.state is not StepState.COMPLETED:
        raise SystemExit(f"{outcome.state}: {outcome.message}")


def plans(base: str, count: str) -> None:
    """Plan many records; prints records per second."""
    from perdura.settings import Settings
    from perdura.sources.catalogue import recognise
    from perdura.sources.plan import to_json
    from perdura.sources.protocols import connected

    settings = Settings(allow_loopback_upstreams=True)

    def one(number: int) -> int:
        with connected(recognise(f"{base}/records/{number}", settings), settings) as upstream:
            plan = upstream.plan()
        return len(to_json(plan)) if len(plan.files) == PLANNED_FILES else 0

    started = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        found = sum(1 for size in pool.map(one, range(1000, 1000 + int(count))) if size)
    seconds = time.perf_counter() - started
    print(json.dumps({"records": found, "per_second": round(found / seconds, 1)}))


# -------------------------------------------------------------------------------------------------- the comparison


@dataclass(frozen=True)
class Run:
    """One process: seconds on the wall, seconds of processor, peak resident MiB, output."""

    wall: float
    processor: float
    memory: int
    text: str

    def __str__(self) -> str:
        return f"{self.wall:.2f} s, {self.processor:.2f} s CPU, {self.memory} MiB"


def measured(command: list[str], **environment: str) -> Run:
    """Run a process to its end; raises SystemExit with its output when it fails."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode(errors="replace")
    if process.returncode:
        raise SystemExit(f"{command[:4]} failed:\n{text[-2000:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024, text)


def run_ours(scratch: Path, *arguments: str) -> Run:
    """One of our processes; the package is found through PYTHONPATH."""
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory(dir=scratch) as target:
        filled = [target if argument == "TARGET" else argument for argument in arguments]
        return measured([sys.executable, __file__, *filled], PYTHONPATH=str(root))


def run_bic(bic: str, base: str, scratch: Path, *arguments: str) -> Run:
    """One run of bagit-create; raises SystemExit when it says it failed."""
    with tempfile.TemporaryDirectory(dir=scratch) as target, tempfile.TemporaryDirectory(dir=scratch) as work:
        command = [bic, *arguments, "--target", target, "--workdir", work]
        result = measured(command, HARVEST_BENCH_UPSTREAM=base)
    if "'status': 0" not in result.text:
        raise SystemExit(f"bagit-create failed:\n{result.text[-2000:]}")
    return result


def compare(arguments: argparse.Namespace) -> list[str]:
    """Run all cases; lines of a report."""
    lines = ["| case | ours | bagit-create | ours is |", "| --- | --- | --- | --- |"]
    memory: list[int] = []
    with tempfile.TemporaryDirectory(prefix="harvest-bench-", dir=arguments.scratch) as name:
        scratch = Path(name)
        small, single = scratch / "small", scratch / "single"
        small.mkdir()
        single.mkdir()
        for number in range(SMALL_FILES):
            (small / f"{number}.dat").write_bytes(content(number))
        md5 = hashlib.md5()
        with (single / "large.bin").open("wb") as file:
            for number in range(arguments.large):
                block = hashlib.sha512(str(number).encode()).digest() * (1 << 14)
                file.write(block)
                md5.update(block)
        command = [sys.executable, __file__, "serve", str(single / "large.bin"), md5.hexdigest()]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        if arguments.bic:
            site = next(Path(arguments.bic).resolve().parents[1].glob("lib/python3*/site-packages"))
            (site / "sitecustomize.py").write_text(REDIRECT)
        large = f"1 × {arguments.large} MiB"
        many = f"{SMALL_FILES} × {SMALL // 1024} KiB"
        cases: list[tuple[str, list[str], list[str]]] = [
            (f"{many}, HTTP", [f"{base}/records/1"], ["--source", "zenodo", "--recid", "1"]),
            (f"{large}, HTTP", [f"{base}/records/2"], ["--source", "zenodo", "--recid", "2"]),
            (f"{many}, folder", [f"file://{small}"], _local(small)),
            (f"{large}, folder", [f"file://{single}"], _local(single)),
        ]
        try:
            for case, url, options in cases:
                mine = run_ours(scratch, "ours", *url, "TARGET", str(scratch))
                memory.append(mine.memory)
                theirs = run_bic(arguments.bic, base, scratch, *options) if arguments.bic else None
                lines.append(_line(case, mine, theirs))
                print(lines[-1], flush=True)
            run = run_ours(scratch, "ours", f"{base}/records/3", "TARGET", str(scratch))
            lines.append(
                f"| {TOGETHER} × {arguments.large} MiB at once, HTTP | {run} | not run | at most {MEMORY} MiB |"
            )
            print(lines[-1], flush=True)
            memory.append(run.memory)
            run = run_ours(scratch, "plans", base, str(arguments.records))
            found = json.loads(run.text.splitlines()[-1])
            lines.append(f"| {found['records']} records planned | {found['per_second']}/s; {run} | | |")
            memory.append(run.memory)
        finally:
            server.kill()
            server.wait()
    if max(memory) > MEMORY:
        raise SystemExit("\n".join([*lines, f"{max(memory)} MiB are more than {MEMORY}"]))
    return lines


def _local(folder: Path) -> list[str]:
    return ["--source", "local", "--source-path", str(folder), "--author", "bench"]


def _line(case: str, mine: Run, theirs: Run | None) -> str:
    if theirs is None:
        return f"| {case} | {mine} | not run | |"
    fast = f"{theirs.wall / mine.wall:.1f} × as fast, {theirs.processor / mine.processor:.1f} × by CPU"
    return f"| {case} | {mine} | {theirs} | {fast} |"


def main() -> None:
    """Run the comparison, or one of its processes."""
    if len(sys.argv) > 1 and sys.argv[1] in ("serve", "ours", "plans"):
        {"serve": serve, "ours": ours, "plans": plans}[sys.argv[1]](*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bic", help="path of bagit-create's program `bic`")
    parser.add_argument("--large", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--records", type=int, default=10_000, help="records to plan")
    parser.add_argument("--scratch", help="where to work; default: the temporary directory")
    parser.add_argument("--report", help="file for the table")
    arguments = parser.parse_args()
    report = "\n".join(compare(arguments)) + "\n"
    print(report)
    if arguments.report:
        Path(arguments.report).write_text(report)


if __name__ == "__main__":
    main()
