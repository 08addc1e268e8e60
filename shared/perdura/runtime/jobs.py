"""Works off jobs at the relay's ticks: which act is done by what."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from perdura.accounts import arrivals, audit, rights
from perdura.accounts.principals import Principal
from perdura.accounts.rights import Thing
from perdura.cloudevents.message import CloudEvent
from perdura.errors import NotStored, Rejected
from perdura.registry import collections, deposits, jobs, oais_import, steering
from perdura.registry.deposits import Arrival, arrival_id
from perdura.registry.jobs import Asker, Done, Item, Slice, Worker
from perdura.registry.oais_import import FoundSip
from perdura.registry.steering import Act
from perdura.runtime.environment import Environment
from perdura.settings import Settings
from perdura.sources.profile import of_protocol
from perdura.storage import drop_zone

FILES = 1_000_000
"""Objects of one unpacked SIP that are added up at most."""

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
            done = jobs.work(connection, workers)
            if done is not None:
                _audit(connection, done)
                told += done.events
        more = done is not None
    return told


def _audit(connection: Connection, done: Slice) -> None:
    """Record whose job did what to which Archives, in the transaction of the acts."""
    if not done.archives and not done.failed:
        return
    actor = Principal(done.by, frozenset(), "job", done.account)
    detail = {"job": str(done.job), "done": len(done.archives), "failed": done.failed}
    objects = [str(done.job), *(str(archive) for archive in done.archives)]
    path = f"/api/v1/jobs/{done.job}"
    audit.record(connection, actor, audit.Act(f"job.{done.act}", audit.DONE, "POST", path, 202, objects, detail))


def all_workers(environment: Environment) -> Mapping[str, Worker]:
    """What does each act."""
    return {
        **{str(act): _steer(act) for act in Act},
        "collect": _collect,
        "take-out": _take_out,
        "announce": _announce(environment),
        "import": _import(environment),
    }


def _steer(act: Act) -> Worker:
    def steer(connection: Connection, given: Mapping[str, Any], item: Item, asker: Asker) -> Done:
        begun = steering.do(connection, _archive(item), act, by=asker.name, steps=_steps(given))
        return Done(begun.archive, begun.events)

    return steer


def _collect(connection: Connection, given: Mapping[str, Any], item: Item, asker: Asker) -> Done:
    del asker
    collections.add(connection, given["collection"], [_archive(item)])
    return Done(item.archive)


def _take_out(connection: Connection, given: Mapping[str, Any], item: Item, asker: Asker) -> Done:
    del asker
    collections.take_out(connection, given["collection"], [_archive(item)])
    return Done(item.archive)


def _announce(environment: Environment) -> Worker:
    def announce(connection: Connection, given: Mapping[str, Any], item: Item, asker: Asker) -> Done:
        drop_zone.check(given["bucket"], item.subject, environment.settings)
        stored = environment.store.head(given["bucket"], item.subject)
        arrival = Arrival(given["bucket"], item.subject, stored.ref.version_id, stored.ref.etag, stored.size)
        if _withheld(connection, environment.settings, asker, arrival):
            raise NotStored("there is no such object in the store")
        begun = deposits.announced(
            connection,
            arrival,
            sha256=item.input.get("sha256"),
            title=item.input.get("title"),
            requested_by=asker.account,
        )
        if begun.events and asker.account is not None:
            rights.own_for(connection, asker.account, [begun.archive], given_by=asker.name)
        if begun.events and given.get("collection"):
            collections.add(connection, given["collection"], [begun.archive])
        return Done(begun.archive, begun.events)

    return announce


def _withheld(connection: Connection, settings: Settings, asker: Asker, arrival: Arrival) -> bool:
    """Whether an object is part of what the asker may not have, and became no Archive that they may see."""
    if asker.account is None:
        return False
    asking = arrivals.asking(connection, settings, asker.account, asker.scopes)
    if not arrivals.withheld(connection, asking, [arrival], of_protocol("prefix", settings)):
        return False
    return not rights.visible(connection, asking, [(Thing.ARCHIVE, arrival_id(arrival))])


def _import(environment: Environment) -> Worker:
    def take_over(connection: Connection, given: Mapping[str, Any], item: Item, asker: Asker) -> Done:
        del asker
        place = oais_import.sip_place(given, item.input)
        if place is None:
            raise Rejected("The archive there has no SIP.", code="no-sip")
        aip = oais_import.aip_place(given, item.input)
        for bucket, key in (place, (aip.bucket, aip.key)) if aip else (place,):
            drop_zone.check(bucket, key, environment.settings)
        sip = _sip_at(environment, *place)
        begun = oais_import.take_over(connection, given["origin"], item.input, sip, aip)
        return Done(begun.archive, begun.events)

    return take_over


def _sip_at(environment: Environment, bucket: str, key: str) -> FoundSip:
    """The SIP at a path: unpacked below it, else one object there; raises NotStored."""
    below = list(islice(environment.store.list(bucket, f"{key}/"), FILES))
    if below:
        return FoundSip(bucket, f"{key}/", sum(info.size for info in below))
    stored = environment.store.head(bucket, key)
    return FoundSip(bucket, key, stored.size, stored.ref.etag)


def _archive(item: Item) -> Any:
    if item.archive is None:
        raise Rejected("The item names no Archive.", code="incomplete-item")
    return item.archive


def _steps(given: Mapping[str, Any]) -> Sequence[str]:
    return [str(step) for step in given.get("steps", ())]
