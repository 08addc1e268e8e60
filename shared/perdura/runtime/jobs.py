"""Works off jobs at the relay's ticks: which act is done by what."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from perdura.accounts import arrivals, audit, directory, rights
from perdura.accounts.principals import Permission, Principal
from perdura.accounts.rights import Thing
from perdura.cloudevents.message import CloudEvent
from perdura.errors import NotFound, NotStored, Rejected
from perdura.registry import collections, deposits, jobs, oais_import, steering
from perdura.registry.deposits import Arrival, arrival_id
from perdura.registry.jobs import Asker, Done, Item, Slice, Worker
from perdura.registry.oais_import import FoundSip
from perdura.registry.steering import Act
from perdura.runtime.environment import Environment
from perdura.runtime.extras import as_they_arrived
from perdura.settings import Settings
from perdura.sources.profile import of_protocol
from perdura.storage import drop_zone
from perdura.storage.store import Store

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
    operate = {**{str(act): _steer(act) for act in Act}, "collect": _collect, "take-out": _take_out}
    workers = {
        **{act: (worker, Permission.OPERATE) for act, worker in operate.items()},
        "announce": (_announce(environment), Permission.DEPOSIT),
        "import": (_import(environment), Permission.ADMINISTER),
    }
    return {act: _within_rights(environment.settings, *worker) for act, worker in workers.items()}


def _within_rights(settings: Settings, worker: Worker, permission: Permission) -> Worker:
    """Let an item be worked on while whoever asked still may, and its Archive and the job's Collection are there."""

    def work(connection: Connection, given: Mapping[str, Any], item: Item, asker: Asker) -> Done:
        named = set() if item.archive is None else {(Thing.ARCHIVE, item.archive)}
        if given.get("collection"):
            named.add((Thing.COLLECTION, UUID(given["collection"])))
        asking = _asking(connection, settings, asker)
        if asking is not None and not asking.may(permission):
            raise Rejected("Whoever asked for it may not do this any more.", code="forbidden")
        if asking is not None and rights.visible(connection, asking, named) != named:
            raise NotFound("There is no such thing any more for whoever asked.")
        return worker(connection, given, item, asker)

    return work


def _asking(connection: Connection, settings: Settings, asker: Asker) -> Principal | None:
    """For whom a job is done now; None for one that nobody asked for through the API."""
    return None if asker.account is None else directory.asking(connection, settings, asker.account, asker.scopes)


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
        if _withheld(connection, environment.settings, asker, [arrival], became=arrival_id(arrival)):
            raise _not_there()
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


def _withheld(
    connection: Connection, settings: Settings, asker: Asker, named: Iterable[Arrival], became: UUID | None = None
) -> bool:
    """Whether any object is part of what the asker may not have, and `became` no Archive that they may see."""
    asking = _asking(connection, settings, asker)
    if asking is None or not rights.hides(asking):
        return False
    if not arrivals.withheld(connection, asking, list(named), of_protocol("prefix", settings)):
        return False
    return became is None or not rights.visible(connection, asking, [(Thing.ARCHIVE, became)])


def _not_there() -> NotStored:
    return NotStored("there is no such object in the store")


def _import(environment: Environment) -> Worker:
    def take_over(connection: Connection, given: Mapping[str, Any], item: Item, asker: Asker) -> Done:
        place = oais_import.sip_place(given, item.input)
        if place is None:
            raise Rejected("The archive there has no SIP.", code="no-sip")
        aip = oais_import.aip_place(given, item.input)
        places = [place, (aip.bucket, aip.key)] if aip else [place]
        for bucket, key in places:
            drop_zone.check(bucket, key, environment.settings)
        if _withheld(connection, environment.settings, asker, _lying_at(environment.store, places)):
            raise _not_there()
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


def _lying_at(store: Store, places: Iterable[tuple[str, str]]) -> Iterator[Arrival]:
    """Every object that lies at, or below, a place; what is missing is not asked for here."""
    for bucket, key in places:
        found = list(islice(store.list(bucket, f"{key}/"), FILES))
        if not found:
            with suppress(NotStored):
                found = [store.head(bucket, key)]
        if found:
            yield from as_they_arrived(store, found)


def _archive(item: Item) -> Any:
    if item.archive is None:
        raise Rejected("The item names no Archive.", code="incomplete-item")
    return item.archive


def _steps(given: Mapping[str, Any]) -> Sequence[str]:
    return [str(step) for step in given.get("steps", ())]
