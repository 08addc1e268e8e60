"""What knowing the caller costs: the same requests by the administrator's token, a personal token, and a session.

    python benchmarks/accounts.py [--requests 300]

Starts a stack of its own, prints a table, stops it. The three kinds of caller take turns, so that what else the machine
does touches all of them alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.stack import Stack, bag_tar, running_stack

MANY = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300, help="requests of each kind")
    requests = parser.parse_args().requests
    with running_stack() as stack:
        archive = stack.deposit(bag_tar({"a.txt": b"a"}))
        stack.finished(archive)
        ids = [stack.deposit(b"x", filename=f"{number}.zip") for number in range(3)]
        callers = _callers(stack)
        one = _compare({name: _reading(client, f"/archives/{archive}") for name, client in callers.items()}, requests)
        many = {"one id": [archive], f"{MANY} ids": (ids * MANY)[:MANY]}
        bulk = _compare(
            {name: _planning(callers["personal token"], listed) for name, listed in many.items()}, requests // 5
        )
    print("| request | median | ratio |")
    print("|---|---|---|")
    _show("an Archive by", one)
    _show("plan of a bulk act on", bulk)


def _callers(stack: Stack) -> dict[str, httpx.Client]:
    base = stack.urls["registry"]
    scopes = ["read", "read-restricted", "operate"]
    made = stack.api.post("/users/me/tokens", json={"name": "benchmark", "scopes": scopes, "days": 1}).json()
    token = httpx.Client(base_url=f"{base}/api/v1", headers={"Authorization": f"Bearer {made['token']}"})
    browser = httpx.Client(base_url=f"{base}/api/v1")
    browser.post(f"{base}/sign-in", data={"token": stack.token, "next": "/"})
    return {"administrator's token": stack.api, "personal token": token, "session": browser}


def _reading(client: httpx.Client, path: str) -> Callable[[], Any]:
    return lambda: client.get(path).raise_for_status()


def _planning(client: httpx.Client, archives: list[str]) -> Callable[[], Any]:
    return lambda: client.post("/jobs/plan", json={"act": "retry", "archives": archives}).raise_for_status()


def _compare(kinds: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median seconds of each kind, measured in turn."""
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, request in kinds.items():
            begun = time.perf_counter()
            request()
            taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times) for name, times in taken.items()}


def _show(what: str, medians: dict[str, float]) -> None:
    first = next(iter(medians.values()))
    for name, seconds in medians.items():
        print(f"| {what} {name} | {seconds * 1000:.1f} ms | {seconds / first:.2f} |")


if __name__ == "__main__":
    main()
