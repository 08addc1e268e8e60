"""Archives a day: a discrete-event simulation of the whole pipeline, fed with measured service times.

    python benchmarks/simulate.py [--per-day 1000 … 10000000] [--hours 2] [--measure]

Requests arrive as a Poisson process with a peak of three times the mean for a tenth of the time. Every step holds one
slot of its function (pods × containerConcurrency) for the time it was measured to take; its statements
pass through PostgreSQL, its bytes through the object store, its events through the broker, each a resource of its own
capacity. `--measure` takes service times from a stack that is started for it, instead of those below. docs/scale.md
says what follows.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import simpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

DAY = 86_400
MIB = 2**20


@dataclass(frozen=True)
class Step:
    """One function: seconds of CPU a megabyte and of its own, statements, passes over the bytes, how many at once."""

    name: str
    cpu: float
    cpu_per_mib: float
    statements: int
    passes: float
    concurrency: int
    most_pods: int


@dataclass(frozen=True)
class World:
    """What is at hand. Rates are of one unit; a shard is a database of its own with the Archives of its key."""

    steps: tuple[Step, ...]
    statement: float = 0.0012
    """Seconds that one statement keeps one core of PostgreSQL busy: measured, 10 to 12 statements in 14 ms."""
    cores: int = 16
    shards: int = 1
    store: float = 1_200 * MIB
    """Bytes a second of the object store."""
    requests: float = 0.004
    """Seconds until the store answers the first byte."""
    broker: float = 3_000
    """CloudEvents a second: what a Kafka broker of three nodes takes with acknowledgement of all."""
    partitions: int = 60
    size: float = 20 * MIB
    """Median size of a package; sizes are log-normal with sigma 1.5."""
    pods: int = 1
    """Factor on the most pods of each function."""
    connections: int = 300
    """Connections to all databases together, per `pods`: what PgBouncer's replicas open. Each running step holds one,
    and its statements take another for a moment (docs/adr/0006); who finds none waits."""


BASE = World(
    (
        Step("ingest", 0.115, 0.0135, 9, 2, 4, 20),
        Step("preserve", 0.210, 0.0715, 10, 3, 2, 20),
        Step("archive", 0.440, 0.0000, 10, 1, 4, 10),
        Step("publish", 0.180, 0.0005, 7, 0.1, 4, 10),
    )
)
"""The steps that run at once in one pod: of `archive` and `publish` half of the pool, of the others all requests."""
"""Measured with `--measure` on 2026-11-28: two cores that nine developers shared. These times hold the step's own
statements and transfers as well, which are simulated besides: the figures err on the slow side."""

LADDER = (
    (10**3, BASE),
    (10**4, BASE),
    (10**5, BASE),
    (10**6, replace(BASE, cores=32, store=6_000 * MIB, pods=6, broker=10_000, partitions=120)),
    (10**7, replace(BASE, cores=48, shards=4, store=60_000 * MIB, pods=60, broker=60_000, partitions=600)),
)
"""Archives a day, and the world that holds them: what to grow, and when."""


@dataclass
class Resources:
    """The queues of one run."""

    database: list[simpy.Resource]
    connections: list[simpy.Resource]
    store: simpy.Resource
    broker: simpy.Resource
    functions: dict[str, simpy.Resource]
    busy: dict[str, float] = field(default_factory=dict)
    most_connections: int = 0


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-day", type=int, nargs="*", help="only these rates, in the world of the base")
    parser.add_argument("--hours", type=float, default=1.0, help="simulated, at most; fewer where there is much to do")
    parser.add_argument("--measure", action="store_true", help="take service times from a stack of this machine")
    parser.add_argument("--connections", type=int, help="to PostgreSQL, in the world of the base")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    steps = measured() if arguments.measure else BASE.steps
    ladder = [(rate, BASE) for rate in arguments.per_day] if arguments.per_day else LADDER
    if arguments.connections:
        ladder = [(rate, replace(world, connections=arguments.connections)) for rate, world in ladder]
    print(
        "| Archives a day | median | 95 % | 99 % | done / come | database | connections, most | store | broker "
        "| busiest function |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for rate, world in ladder:
        print(row(rate, replace(world, steps=steps), arguments.hours, arguments.seed), flush=True)


def row(rate: int, world: World, hours: float, seed: int) -> str:
    """One line of the table."""
    seconds = min(hours * 3600, 60_000 / (rate / DAY))
    seconds = max(seconds, 60.0)
    latencies, come, resources, scale = simulate(rate, world, seconds, seed)
    ordered = sorted(latencies) or [float("nan")]

    def at(share: float) -> str:
        return f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))]:.1f} s"

    def used(name: str, capacity: float) -> str:
        return f"{100 * resources.busy.get(name, 0) / (capacity * seconds):.0f} %"

    held = {step.name: slots(step, world, scale) for step in world.steps}
    busiest = max(held, key=lambda name: resources.busy.get(name, 0) / held[name])
    cores = max(1, round(world.cores / scale)) * world.shards
    held_open = f"{resources.most_connections * scale:,} of {world.connections * world.pods:,}"
    return (
        f"| {rate:,} | {at(0.5)} | {at(0.95)} | {at(0.99)} | {len(latencies)} / {come} | {used('database', cores)} "
        f"| {held_open} | {used('store', 1)} | {used('broker', 1)} | {busiest} {used(busiest, held[busiest])} |"
    )


def slots(step: Step, world: World, scale: int) -> int:
    """How many requests a function takes at once."""
    return max(1, round(step.concurrency * step.most_pods * world.pods / scale))


def simulate(rate: int, world: World, seconds: float, seed: int) -> tuple[list[float], int, Resources, int]:
    """Latencies of what was done in that time, how many came, what was busy, and by which factor all was scaled down.

    Beyond a million a day the simulation runs a slice of the world: as many pods, cores and bytes fewer as Archives.
    """
    scale = max(1, rate // 1_000_000)
    chance = random.Random(seed)
    env = simpy.Environment()
    cores = max(1, round(world.cores / scale))
    resources = Resources(
        [simpy.Resource(env, cores) for _ in range(world.shards)],
        [
            simpy.Resource(env, max(2, round(world.connections * world.pods / world.shards / scale)))
            for _ in range(world.shards)
        ],
        simpy.Resource(env, 1),
        simpy.Resource(env, 1),
        {
            s.name: simpy.Resource(env, max(1, round(s.concurrency * s.most_pods * world.pods / scale)))
            for s in world.steps
        },
    )
    latencies: list[float] = []
    come = 0

    def arrivals() -> Generator[Any, Any, None]:
        nonlocal come
        mean = rate / scale / DAY
        while True:
            peak = 3.0 if (env.now % 600) < 60 else 7 / 9
            yield env.timeout(chance.expovariate(mean * peak))
            come += 1
            env.process(archive())

    def using(name: str, resource: simpy.Resource, time: float) -> Generator[Any, Any, None]:
        with resource.request() as turn:
            yield turn
            yield env.timeout(time)
            resources.busy[name] = resources.busy.get(name, 0) + min(time, max(0.0, seconds - env.now + time))

    def archive() -> Generator[Any, Any, None]:
        begun = env.now
        size = world.size * chance.lognormvariate(0, 1.5)
        shard = chance.randrange(world.shards)
        database, connections = resources.database[shard], resources.connections[shard]
        for step in world.steps:
            yield from using("broker", resources.broker, scale / world.broker)
            with resources.functions[step.name].request() as slot, connections.request() as claim:
                yield slot & claim
                held = env.now
                yield env.timeout(world.requests * 4)
                moved = size * step.passes
                while moved > 0:
                    some = min(moved, 64 * MIB)
                    yield from using("store", resources.store, some * scale / world.store)
                    moved -= some
                yield env.timeout(step.cpu + step.cpu_per_mib * size / MIB)
                for _ in range(step.statements):
                    with connections.request() as other:
                        yield other
                        in_use = sum(each.count for each in resources.connections)
                        resources.most_connections = max(resources.most_connections, in_use)
                        yield from using("database", database, world.statement * chance.expovariate(1))
                resources.busy[step.name] = resources.busy.get(step.name, 0) + env.now - held
        latencies.append(env.now - begun)

    env.process(arrivals())
    env.run(until=seconds)
    return latencies, come, resources, scale


def measured() -> tuple[Step, ...]:
    """Service times of each function: the medians its own log tells of deposits of two sizes, one after the other."""
    import os

    from tests.stack import bag_tar, running_stack

    small, large = 64 * 1024, 64 * MIB
    with running_stack({"PERDURA_VIRUS_SCAN": "off", "PERDURA_TAPE_POLL_SECONDS": "1"}) as stack:
        stack.finished(stack.deposit(bag_tar({"a.bin": os.urandom(small)})))
        taken: list[dict[str, list[float]]] = []
        for size, times in ((small, 12), (large, 4)):
            offsets = {path: path.stat().st_size for path in (stack.home / "logs").glob("*.log")}
            for _ in range(times):
                stack.finished(stack.deposit(bag_tar({"a.bin": os.urandom(size)})), 300)
            taken.append(_seconds(offsets))
    steps = []
    for step in BASE.steps:
        name = "archive-cta" if step.name == "archive" else step.name
        low, high = (statistics.median(each.get(name) or [step.cpu]) for each in taken)
        slope = max(0.0, (high - low) / (large / MIB))
        steps.append(replace(step, cpu=low, cpu_per_mib=slope))
        print(f"measured: {step.name}: {low * 1000:.0f} ms, and {slope * 1000:.1f} ms a MiB", file=sys.stderr)
    return tuple(steps)


def _seconds(offsets: dict[Path, int]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for path, offset in offsets.items():
        with path.open(errors="replace") as log:
            log.seek(offset)
            for line in log:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict) and "statements" in entry and "seconds" in entry:
                    found.setdefault(entry["function"], []).append(float(entry["seconds"]))
    return found


if __name__ == "__main__":
    main()
