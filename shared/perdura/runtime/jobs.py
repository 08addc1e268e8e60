"""Works off jobs at the relay's ticks: which act is done by what."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from perdura.cloudevents.message import CloudEvent
from perdura.errors import Rejected
from perdura.registry import collections, deposits, jobs, steering
from perdura.registry.deposits import Arrival
from perdura.registry.jobs import Done, Item, Worker
from perdura.registry.steering import Act
from perdura.runtime.environment import Environment

SECONDS = 10.0
"""How long one tick works on jobs; the next goes on."""


def tick(environment: Environment, seconds: float = SECONDS) -> list[CloudEvent]:
    """Work on jobs for a while; CloudEvents are in the outbox and returned for emission."""
    end = time.monotonic() + seconds
    workers = all_workers(environment)
    told: list[CloudEvent] = []
    more = True
    while more and time.monotonic() < end:
        with environment.engine.begin() as connection:
            more, events = jobs.work(connection, workers)
        told += events
    return told


def all_workers(environment: Environment) -> Mapping[str, Worker]:
    """What does each act."""
    return {
        **{str(act): _steer(act) for act in Act},
        "collect": _collect,
        "take-out": _take_out,
        "announce": _announce(environment),
    }


def _steer(act: Act) -> Worker:
    def steer(connection: Connection, given: Mapping[str, Any], item: Item, by: str) -> Done:
        begun = steering.do(connection, _archive(item), act, by=by, steps=_steps(given))
        return Done(begun.archive, begun.events)

    return steer


def _collect(connection: Connection, given: Mapping[str, Any], item: Item, by: str) -> Done:
    del by
    collections.add(connection, given["collection"], [_archive(item)])
    return Done(item.archive)


def _take_out(connection: Connection, given: Mapping[str, Any], item: Item, by: str) -> Done:
    del by
    collections.take_out(connection, given["collection"], [_archive(item)])
    return Done(item.archive)


def _announce(environment: Environment) -> Worker:
    def announce(connection: Connection, given: Mapping[str, Any], item: Item, by: str) -> Done:
        del by
        stored = environment.store.head(given["bucket"], item.subject)
        arrival = Arrival(given["bucket"], item.subject, stored.ref.version_id, stored.ref.etag, stored.size)
        begun = deposits.announced(connection, arrival, sha256=item.input.get("sha256"), title=item.input.get("title"))
        if given.get("collection"):
            collections.add(connection, given["collection"], [begun.archive])
        return Done(begun.archive, begun.events)

    return announce


def _archive(item: Item) -> Any:
    if item.archive is None:
        raise Rejected("The item names no Archive.", code="incomplete-item")
    return item.archive


def _steps(given: Mapping[str, Any]) -> Sequence[str]:
    return [str(step) for step in given.get("steps", ())]
