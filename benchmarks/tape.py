"""How fast and how lean archiving to tape is: submissions, bulk status, thousands of AIPs, the cost of ADLER32.

Usage: `python benchmarks/tape.py [--aips N] [--output FILE]`. The tape library runs as a process of its own, with
mounts and seeks shortened, so that the numbers are about our code. Targets: 100 submissions in 3.5 s; status of 1,000
jobs in at most 10 requests and 2 s; 10,000 AIPs archived and confirmed within 256 MiB; ADLER32 adds at most 10 % to
the CPU of the write path.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from perdura.clients.tape import FtsTape, tape_system
from perdura.ids import derived_id
from perdura.local.tape.http import Request, Response, Server
from perdura.outcome import ArchiveView, Package, PackageKind, StepState, StepView
from perdura.ports import OpenJob, Ports, TapeOrder, TapeRequest
from perdura.settings import Settings
from perdura.steps import archive as step
from perdura.storage.digests import adler32

DATA = b"a small AIP" * 100
ADLER32 = f"{zlib.adler32(DATA):08x}"
WINDOW = 100
"""Steps that one tick of the poller looks at."""


class Clock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The present instant."""
        return datetime.now(UTC)

    def near(self) -> bool:
        """There is time."""
        return False


class Jobs:
    """A register that notes nothing: the registry has its own benchmark."""

    def paused(self) -> None:
        """Nothing is paused."""

    def stop(self, _reason: str) -> None:
        """Note nothing."""

    def admit(self, order: TapeOrder, _limit: int) -> OpenJob:
        """Every job may be asked for."""
        return OpenJob(order.key, order.path, None, order.account, asked_before=False)

    def unasked(self, _order: TapeOrder) -> None:
        """Note nothing."""

    def accepted(self, _key: str, _job: str, _account: Any) -> None:
        """Note nothing."""

    def wishes(self, _keys: Any) -> dict[str, Any]:
        """Nobody wishes anything."""
        return {}

    def granted(self, _key: str) -> None:
        """Note nothing."""

    def seen(self, _states: Any, _over: Any) -> None:
        """Note nothing."""

    def tried(self, _key: str, _retries: Any) -> None:
        """Note nothing."""

    def slot(self, _package: UUID) -> None:
        """Nothing is in a container."""


class SourceUrls:
    """The only thing the archive step asks of the store: a URL that reads the AIP."""

    def __init__(self, base: str) -> None:
        self.base = base

    def presigned_get(self, ref: Any, _seconds: int) -> str:
        """A URL."""
        return f"{self.base}/{ref.key}?X-Amz-Signature=x"


def start(state: Path, token: str) -> tuple[subprocess.Popen[str], str, str]:
    """Run the tape library; gives back its process and its addresses."""
    command = [sys.executable, "-m", "perdura.local.tape", "serve", "--state", str(state), "--mount-seconds", "0"]
    command += ["--seek-seconds", "0", "--drive-rate", "0", "--keep-seconds", "0"]
    environment = {**os.environ, "PERDURA_TAPE_TOKEN": token}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    words = process.stdout.readline().split()
    return process, words[1], words[4]


def serve_source(asked: Request) -> Response:
    """Every AIP is the same; read by GET only, as presigned URLs are."""
    if asked.method != "GET":
        return Response(403)
    if asked.headers.get("range"):
        return Response(206, DATA[:1], {"Content-Range": f"bytes 0-0/{len(DATA)}"})
    return Response(200, DATA)


def request(number: int, source: str, run: str) -> TapeRequest:
    """One file to be archived."""
    return TapeRequest(
        f"{run}:{number}", f"{source}/{number}?X-Amz-Signature=x", f"{run}/{number}.tar", len(DATA), ADLER32, {}
    )


def submissions(tape: FtsTape, source: str, count: int) -> tuple[float, list[str]]:
    """Seconds for `count` submissions of one file, and the jobs."""
    tape.fts.identity()
    began = time.perf_counter()
    jobs = [tape.submit(request(number, source, "submissions")) for number in range(count)]
    return time.perf_counter() - began, jobs


def bulk_status(tape: FtsTape, jobs: list[str]) -> tuple[float, int]:
    """Seconds and requests for the status of all jobs."""
    count = 0

    def counted(_: httpx.Request) -> None:
        nonlocal count
        count += 1

    tape.fts._client.event_hooks = {"request": [counted]}
    began = time.perf_counter()
    found = tape.jobs(jobs)
    seconds = time.perf_counter() - began
    tape.fts._client.event_hooks = {}
    assert len(found) == len(jobs)
    return seconds, count


def views(count: int) -> Any:
    """Archives whose AIP is to be archived, made when they are needed."""
    for number in range(count):
        archive, aip = UUID(int=number + 1), derived_id("aip", number)
        package = Package(
            aip, PackageKind.AIP, "aips", f"{number}.tar", "tar", len(DATA), checksums={"adler32": ADLER32}
        )
        yield ArchiveView(archive, StepView(derived_id("step", number), "archive", 1), packages=(package,))


def many(ports: Ports, count: int) -> tuple[float, float]:
    """Archive and confirm `count` AIPs as the function does: one run each, then polls of at most 100.

    Gives back seconds and the largest resident set in MiB.
    """
    began = time.perf_counter()
    waiting: deque[ArchiveView] = deque()
    done = 0
    supply = views(count)
    while done < count:
        for view in supply:
            outcome = step.run(view, ports)
            if outcome.state is StepState.WAITING:
                waiting.append(replace(view, step=replace(view.step, checkpoint=outcome.checkpoint or {})))
            else:
                done += 1
            if len(waiting) >= 10 * WINDOW:
                break
        batch = [waiting.popleft() for _ in range(min(WINDOW, len(waiting)))]
        for view, outcome in step.poll(batch, ports):
            if outcome.state is StepState.WAITING:
                waiting.append(replace(view, step=replace(view.step, checkpoint=outcome.checkpoint or {})))
            else:
                assert outcome.state is StepState.COMPLETED, outcome
                done += 1
    return time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def hashing(scratch: Path) -> tuple[float, float]:
    """CPU seconds of the write path without ADLER32 (digests of an AIP, and writing it), and of ADLER32 alone.

    The least of five runs each over 256 MiB: other work on the machine only ever adds.
    """
    blocks = [secrets.token_bytes(1 << 20) for _ in range(16)] * 16

    def write() -> None:
        digests = hashlib.sha256(), hashlib.sha512()
        with scratch.open("wb") as file:
            for block in blocks:
                for digest in digests:
                    digest.update(block)
                file.write(block)

    def checksum() -> None:
        value = 1
        for block in blocks:
            value = adler32(block, value)

    def spent(work: Callable[[], None]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return min(spent(write) for _ in range(5)), min(spent(checksum) for _ in range(5))


def main() -> int:
    """Run all, print a table, exit with 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aips", type=int, default=10_000)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    token = secrets.token_hex(16)
    lines: list[tuple[str, str, str, bool]] = []
    source = Server(0, serve_source)
    source.start()
    with tempfile.TemporaryDirectory() as state:
        process, fts_url, endpoint_url = start(Path(state), token)
        try:
            settings = Settings(
                tape_fts_url=fts_url, tape_endpoint_url=endpoint_url, tape_token=token, tape_poll_seconds=5
            )
            tape = tape_system(settings)
            assert tape is not None
            seconds, _ = submissions(tape, source.url, 100)
            lines.append(("100 submissions", f"{seconds:.2f} s", "≤ 3.5 s", seconds <= 3.5))
            _, jobs = submissions(tape, source.url, 1000)
            seconds, requests = bulk_status(tape, jobs)
            passed = seconds <= 2 and requests <= 10
            lines.append(("status of 1,000 jobs", f"{seconds:.2f} s, {requests} requests", "≤ 2 s, ≤ 10", passed))
            ports = Ports(
                settings=settings,
                store=SourceUrls(source.url),  # type: ignore[arg-type]
                clock=Clock(),
                deadline=Clock(),
                intents=Jobs(),  # type: ignore[arg-type]
                progress=lambda *_: None,
                derived=lambda name: derived_id(name),
                tape=tape,
                tape_jobs=Jobs(),
            )
            seconds, mebibytes = many(ports, options.aips)
            rate = options.aips / seconds
            measured = f"{mebibytes:.0f} MiB, {seconds:.0f} s ({rate:.0f}/s)"
            lines.append((f"{options.aips:,} AIPs archived and confirmed", measured, "≤ 256 MiB", mebibytes <= 256))
            tape.close()
        finally:
            process.terminate()
            process.wait(30)
    source.stop()
    with tempfile.TemporaryDirectory() as scratch:
        path, adler = hashing(Path(scratch) / "aip.tar")
    share = 100 * adler / path
    lines.append(("ADLER32 on the write path", f"+{share:.1f} % CPU", "≤ 10 %", share <= 10))
    table = "| what | measured | target | |\n|---|---|---|---|\n"
    table += "".join(f"| {w} | {m} | {t} | {'ok' if ok else 'MISSED'} |\n" for w, m, t, ok in lines)
    print(table)
    if options.output:
        options.output.write_text(table)
    return 0 if all(ok for *_, ok in lines) else 1


if __name__ == "__main__":
    raise SystemExit(main())
