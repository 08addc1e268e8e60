"""The relay's tick: what was committed but not heard, lost but not forgotten, due but not done (architecture §2).

Every duty is idempotent and safe to run from many instances at once; a tick with nothing to do costs two statements.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from sqlalchemy.exc import SQLAlchemyError

from perdura.accounts import forgetting
from perdura.cloudevents.message import CloudEvent
from perdura.errors import PerduraError
from perdura.premis import seal
from perdura.registry import archive_index, deposits, duties, outbox, store_capabilities, turns
from perdura.runtime import faults, jobs, notifications, schedules
from perdura.runtime.environment import Environment
from perdura.settings import Settings
from perdura.storage.store import is_package_key

_log = logging.getLogger(__name__)

SOURCE = "/perdura/relay"
BATCH = 100

Do = Callable[[Environment], Sequence[CloudEvent] | None]


@dataclass(frozen=True, slots=True)
class Duty:
    """What is done again and again: by which name it is remembered, how often, and what it does."""

    name: str
    every: timedelta
    do: Do


def duties_of(settings: Settings) -> tuple[Duty, ...]:
    """All duties of the relay beside the outbox, in the order in which a tick does those that are due."""
    return (
        Duty("watch", timedelta(seconds=5), watch),
        Duty("turns", timedelta(seconds=1), give_turns),
        Duty("harvest", timedelta(seconds=5), schedules.tick),
        Duty("sweep", timedelta(seconds=settings.sweep_seconds), sweep_drop_zone),
        Duty("probe", timedelta(days=1), probe_store),
        Duty("seal", timedelta(seconds=30), seal_log),
        Duty("prune", timedelta(hours=1), prune),
        Duty("jobs", timedelta(seconds=1), jobs.tick),
        Duty("notify", timedelta(seconds=5), notify),
        Duty("fold", timedelta(seconds=15), fold_counts),
    )


def tick(environment: Environment) -> Sequence[CloudEvent]:
    """Do what is due. CloudEvents of the duties go through the outbox and are returned for emission.

    A duty that fails leaves the others to be done; it is due again after its interval.
    """
    faults.reach("before-effect")
    sweep_outbox(environment)
    known = duties_of(environment.settings)
    with environment.engine.begin() as connection:
        due = duties.due(connection, {duty.name: duty.every for duty in known})
    events: list[CloudEvent] = []
    for duty in known:
        if duty.name in due:
            try:
                events += duty.do(environment) or ()
            except (PerduraError, SQLAlchemyError) as error:
                _log.warning("%s: %s", duty.name, error if isinstance(error, PerduraError) else type(error).__name__)
    return events


def watch(environment: Environment) -> Sequence[CloudEvent]:
    """Ask again for steps that nobody works on."""
    with environment.engine.begin() as connection:
        return duties.ask_again(connection, SOURCE, BATCH)


def give_turns(environment: Environment) -> Sequence[CloudEvent]:
    """Begin Archives that waited for their turn, as many as there is room for."""
    with environment.engine.begin() as connection:
        return turns.give(connection, environment.settings.archives_in_work, SOURCE)


def notify(environment: Environment) -> None:
    """Send the notifications that are due."""
    notifications.tick(environment)


def seal_log(environment: Environment) -> None:
    """Seal the events that the log took since the last tree head."""
    seal.tick(environment.engine, environment.store, environment.settings)


def prune(environment: Environment) -> None:
    """Forget messages that can come no more, and what expired of accounts."""
    with environment.engine.begin() as connection:
        outbox.prune(connection, timedelta(days=environment.settings.keep_messages_days))
        forgetting.forget(connection, environment.settings)


def fold_counts(environment: Environment) -> None:
    """Fold the changes of the counters into their totals."""
    with environment.engine.begin() as connection:
        archive_index.fold(connection)


def sweep_outbox(environment: Environment) -> None:
    """Emit events that their function did not get to the broker, oldest first, until the broker refuses one."""
    with environment.engine.begin() as connection:
        taken: list[str] = []
        for event in outbox.due(connection, BATCH):
            error = environment.emitter.post(event)
            if error is None:
                taken.append(event.id)
                continue
            outbox.postpone(connection, event.id, error)
            break
        if taken:
            faults.reach("after-effect")
            outbox.delivered(connection, taken)
    if taken:
        faults.reach("after-commit")


def sweep_drop_zone(environment: Environment) -> list[CloudEvent]:
    """Begin the ingest of objects whose notification was lost (embedded-services.md 5: a webhook only wakes)."""
    bucket = environment.settings.bucket_incoming
    events: list[CloudEvent] = []
    listing = environment.store.list(bucket, "")
    while batch := list(islice(listing, 1000)):
        arrivals = [
            deposits.Arrival(bucket, info.ref.key, info.ref.version_id, info.ref.etag, info.size)
            for info in batch
            if is_package_key(info.ref.key)
        ]
        with environment.engine.begin() as connection:
            for arrival in deposits.unknown_keys(connection, arrivals):
                events += deposits.receive(connection, arrival, source=SOURCE).events
    return events


def probe_store(environment: Environment) -> None:
    """Try what the object store can do and record it; correctness never rests on the answer."""
    from perdura.storage.capabilities import probe
    from perdura.storage.s3 import S3Store

    if isinstance(environment.store, S3Store):
        found = probe(environment.store)
        with environment.engine.begin() as connection:
            store_capabilities.record(connection, environment.settings.s3_endpoint, found)
