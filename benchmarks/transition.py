"""Deposits on one machine: SQL statements per step, time of one deposit, deposits per minute.

    python benchmarks/transition.py [--deposits 20] [--seconds 60] [--in-flight 8]

Starts a stack of its own, prints a table, stops it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.stack import Stack, bag_tar, running_stack

from perdura.cloudevents.catalogue import TICK

MIB = 1 << 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deposits", type=int, default=20, help="deposits timed one after the other")
    parser.add_argument("--seconds", type=float, default=60, help="how long many are kept in flight")
    parser.add_argument("--in-flight", type=int, default=8, help="how many at once")
    arguments = parser.parse_args()
    with running_stack() as stack:
        stack.finished(deposit(stack))
        one = sorted(timed(stack) for _ in range(arguments.deposits))
        rate = throughput(stack, arguments.in_flight, arguments.seconds)
        statements = statements_per_step(stack)
    print("| measure | value | to reach |")
    print("|---|---|---|")
    for function, most in sorted(statements.items()):
        print(f"| SQL statements, {function} (most of all deliveries) | {most} | ≤ 12 |")
    print(f"| 1 MiB deposit, upload to completed, median of {len(one)} | {statistics.median(one):.2f} s | ≤ 3 s |")
    print(f"| the same, slowest | {one[-1]:.2f} s | |")
    print(f"| deposits completed per minute, {arguments.in_flight} in flight | {rate:.0f} | ≥ 60 |")


def deposit(stack: Stack) -> str:
    """Hand in a bag of 1 MiB that nobody handed in before."""
    return stack.deposit(bag_tar({"data.bin": os.urandom(MIB)}))


def timed(stack: Stack) -> float:
    """Seconds from the beginning of the upload of a 1 MiB deposit to its completion."""
    bag = bag_tar({"data.bin": os.urandom(MIB)})
    begun = time.perf_counter()
    archive = stack.deposit(bag)
    assert stack.finished(archive)["state"] == "completed", stack.steps(archive)
    return time.perf_counter() - begun


def throughput(stack: Stack, in_flight: int, seconds: float) -> float:
    """Deposits completed per minute while `in_flight` are always under way."""
    begun = time.monotonic()

    def depositor(_: int) -> int:
        done = 0
        while time.monotonic() < begun + seconds:
            finished = stack.finished(deposit(stack), 180, every=0.5)
            assert finished["state"] == "completed", finished
            done += 1
        return done

    with ThreadPoolExecutor(in_flight) as depositors:
        done = sum(depositors.map(depositor, range(in_flight)))
    return 60 * done / (time.monotonic() - begun)


def statements_per_step(stack: Stack) -> dict[str, int]:
    """The largest number of statements that any delivery of a step took, by function, from the functions' logs.

    A tick is none: it looks at all that wait, however many they are.
    """
    most: dict[str, int] = {}
    for log in (stack.home / "logs").glob("*.log"):
        for line in log.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if not isinstance(entry, dict) or entry.get("event_type") == TICK:
                continue
            if "statements" in entry and entry["function"] in STEPS:
                most[entry["function"]] = max(most.get(entry["function"], 0), entry["statements"])
    return most


STEPS = {"harvest", "ingest", "preserve", "archive-cta", "publish"}

if __name__ == "__main__":
    main()
