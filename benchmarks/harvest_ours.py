"""Our side of the harvest benchmark, in a process of its own that writes into a directory.

    python benchmarks/harvest_ours.py step URL TARGET ROOTS [WARMING]
    python benchmarks/harvest_ours.py plans BASE RECORDS

`step` prints the seconds, the seconds of processor and the MiB of one harvest. With WARMING, the address of another
record, that one is harvested before: what is measured then is the step in a process that stands ready.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from perdura.ids import derived_id
from perdura.outcome import ArchiveView, StepState, StepView
from perdura.ports import Ports
from perdura.settings import Settings
from perdura.steps.harvest import run

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.directory_store import DirectoryStore


class Now:
    """The clock."""

    def now(self) -> datetime:
        """The present instant."""
        return datetime.now(UTC)


class Never:
    """Enough time."""

    def near(self) -> bool:
        """False."""
        return False


def harvest(url: str, target: str, settings: Settings) -> None:
    """Harvest one record into a directory; raises SystemExit when the step says it failed."""
    step = UUID(int=1)
    ports = Ports(
        settings=settings,
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


def measured(url: str, target: str, roots: str, warming: str = "") -> None:
    """Harvest, and print what it took."""
    settings = Settings(allow_loopback_upstreams=True, harvest_local_roots=roots or None)
    if warming:
        harvest(warming, f"{target}/warming", settings)
    processor, started = time.process_time(), time.perf_counter()
    harvest(url, f"{target}/measured", settings)
    seconds, used = time.perf_counter() - started, time.process_time() - processor
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": seconds, "processor": used, "memory": memory}))


def plans(base: str, count: str) -> None:
    """Plan many records of three files; prints records per second."""
    from perdura.sources.catalogue import recognise
    from perdura.sources.plan import to_json
    from perdura.sources.protocols import connected

    settings = Settings(allow_loopback_upstreams=True)

    def one(number: int) -> int:
        with connected(recognise(f"{base}/records/{number}", settings), settings) as upstream:
            plan = upstream.plan()
        return len(to_json(plan)) if len(plan.files) == 3 else 0

    started = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        found = sum(1 for size in pool.map(one, range(1000, 1000 + int(count))) if size)
    seconds = time.perf_counter() - started
    print(json.dumps({"records": found, "per_second": round(found / seconds, 1)}))


if __name__ == "__main__":
    {"step": measured, "plans": plans}[sys.argv[1]](*sys.argv[2:])
