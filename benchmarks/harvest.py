"""Harvest beside CERN's bagit-create: seconds and memory for many small files, one large file, and plans per second.

    python benchmarks/harvest.py [--bic PATH/bic] [--runs N] [--large MIB] [--records N] [--function] [--report FILE]

Both harvest the same bytes from one upstream on this machine, and from a folder, and both write into a directory.
bagit-create (1.5.3, GPL, run as a program when `--bic` names one) is a program that is started for each record; ours is
a step of a function, which is started once and stands ready. So ours is measured twice: `started`, from the start of
Python to its end, and `ready`, in a process that harvested something before. Ours hashes MD5, SHA-256 and SHA-512 and
compares what was declared; bagit-create hashes MD5, and SHA-1 for folders. Sides take turns, and the best of the runs
counts for each. `--function` adds the whole installation: from the posted `harvest.requested` to the stored SIP with
gunicorn, PostgreSQL and an object store.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import harvest_upstream
from benchmarks.harvest_upstream import SMALL, SMALL_FILES, TOGETHER, content

OURS = Path(__file__).with_name("harvest_ours.py")
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


@dataclass(frozen=True)
class Run:
    """Seconds on the wall, seconds of processor, peak resident MiB."""

    wall: float
    processor: float
    memory: int

    def __str__(self) -> str:
        return f"{self.wall:.2f} s, {self.processor:.2f} s CPU, {self.memory} MiB"


@dataclass(frozen=True)
class Case:
    """What is harvested: our address of it, and bagit-create's options."""

    name: str
    url: str
    options: Sequence[str]


@dataclass(frozen=True)
class Bench:
    """Where it all lies."""

    scratch: Path
    base: str
    bic: str | None

    def started(self, case: Case) -> Run:
        """Ours from the start of Python to its end."""
        return self._ours(case)[0]

    def ready(self, case: Case) -> Run:
        """Ours in a process that harvested three small files before."""
        return self._ours(case, f"{self.base}/records/1000")[1]

    def _ours(self, case: Case, *warming: str) -> tuple[Run, Run]:
        with tempfile.TemporaryDirectory(dir=self.scratch) as target:
            command = [sys.executable, str(OURS), "step", case.url, target, str(self.scratch), *warming]
            run, text = measured(command)
        told = json.loads(text.splitlines()[-1])
        return run, Run(told["seconds"], told["processor"], told["memory"])

    def theirs(self, case: Case) -> Run:
        """bagit-create; raises SystemExit when it says it failed."""
        assert self.bic is not None
        with tempfile.TemporaryDirectory(dir=self.scratch) as target, tempfile.TemporaryDirectory() as work:
            command = [self.bic, *case.options, "--target", target, "--workdir", work]
            run, text = measured(command, HARVEST_BENCH_UPSTREAM=self.base)
        if "'status': 0" not in text:
            raise SystemExit(f"bagit-create failed:\n{text[-2000:]}")
        return run


def measured(command: list[str], **environment: str) -> tuple[Run, str]:
    """Run a process to its end; its output. Raises SystemExit with that when it fails."""
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
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024), text


def best(runs: Sequence[Run]) -> Run:
    """The least time of each kind, the most memory."""
    return Run(min(r.wall for r in runs), min(r.processor for r in runs), max(r.memory for r in runs))


@contextmanager
def prepared(arguments: argparse.Namespace) -> Iterator[tuple[Bench, list[Case]]]:
    """Files, folders and the upstream."""
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
        command = [sys.executable, harvest_upstream.__file__, str(single / "large.bin"), md5.hexdigest()]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        large, many = f"1 × {arguments.large} MiB", f"{SMALL_FILES} × {SMALL // 1024} KiB"
        try:
            yield (
                Bench(scratch, base, arguments.bic),
                [
                    Case(f"{many}, HTTP", f"{base}/records/1", ["--source", "zenodo", "--recid", "1"]),
                    Case(f"{many}, folder", f"file://{small}", _local(small)),
                    Case(f"{large}, HTTP", f"{base}/records/2", ["--source", "zenodo", "--recid", "2"]),
                    Case(f"{large}, folder", f"file://{single}", _local(single)),
                ],
            )
        finally:
            server.kill()
            server.wait()


def _local(folder: Path) -> list[str]:
    return ["--source", "local", "--source-path", str(folder), "--author", "bench"]


def compare(bench: Bench, cases: Sequence[Case], arguments: argparse.Namespace, line: Callable[[str], None]) -> int:
    """Run all, telling each line of the table; the most memory of ours."""
    line("| case | ours, started | ours, ready | bagit-create | started is | ready is |")
    line("|---|---|---|---|---|---|")
    memory: list[int] = []
    for case in cases:
        turns = [
            (bench.started(case), bench.ready(case), bench.theirs(case) if bench.bic else None)
            for _ in range(arguments.runs)
        ]
        started, ready = best([turn[0] for turn in turns]), best([turn[1] for turn in turns])
        other = [turn[2] for turn in turns if turn[2] is not None]
        theirs = best(other) if other else None
        line(f"| {case.name} | {started} | {ready} | {theirs or 'not run'} | {_ratio(theirs, started)} "
             f"| {_ratio(theirs, ready)} |")  # fmt: skip
        memory += [started.memory, ready.memory]
    run = bench.started(Case("", f"{bench.base}/records/3", ()))
    line(f"| {TOGETHER} × {arguments.large} MiB at once, HTTP | {run} | | | at most {MEMORY} MiB | |")
    planned, text = measured([sys.executable, str(OURS), "plans", bench.base, str(arguments.records)])
    told = json.loads(text.splitlines()[-1])
    line(f"| {told['records']} records planned | {told['per_second']}/s; {planned} | | | at least 100/s | |")
    return max([*memory, run.memory, planned.memory])


def _ratio(theirs: Run | None, ours: Run) -> str:
    if theirs is None:
        return ""
    return f"{theirs.wall / ours.wall:.1f} × as fast, {theirs.processor / ours.processor:.1f} × by CPU"


def function(bench: Bench, cases: Sequence[Case], runs: int, line: Callable[[str], None]) -> int:
    """The same cases through the installation; the most memory of the worker."""
    from benchmarks import harvest_function

    line("\n| case | the function, from request to stored SIP |\n|---|---|")
    memory = []
    with harvest_function.ready(str(bench.scratch)) as running:
        running.measure(f"{bench.base}/records/1000")
        for case in cases:
            run = best([Run(*running.measure(case.url)) for _ in range(runs)])
            line(f"| {case.name} | {run} |")
            memory.append(run.memory)
    return max(memory)


def main() -> None:
    """Run the comparison; fails when ours took more memory than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bic", help="path of bagit-create's program `bic`")
    parser.add_argument("--runs", type=int, default=3, help="runs of each case, of which the best counts")
    parser.add_argument("--large", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--records", type=int, default=10_000, help="records to plan")
    parser.add_argument("--function", action="store_true", help="measure the whole installation too")
    parser.add_argument("--scratch", help="where to work; default: the temporary directory")
    parser.add_argument("--report", help="file for the table")
    arguments = parser.parse_args()
    lines: list[str] = []

    def line(text: str) -> None:
        lines.append(text)
        print(text, flush=True)

    if arguments.bic:
        site = next(Path(arguments.bic).resolve().parents[1].glob("lib/python3*/site-packages"))
        (site / "sitecustomize.py").write_text(REDIRECT)
    with prepared(arguments) as (bench, cases):
        memory = compare(bench, cases, arguments, line)
        if arguments.function:
            memory = max(memory, function(bench, cases, arguments.runs, line))
    if arguments.report:
        Path(arguments.report).write_text("\n".join(lines) + "\n")
    if memory > MEMORY:
        raise SystemExit(f"{memory} MiB are more than {MEMORY}")


if __name__ == "__main__":
    main()
