"""The relay's tick: what was committed but not heard, lost but not forgotten, due but not done (architecture §2).

Every duty is idempotent and safe to run from many instances at once; a tick with nothing to do costs two statements.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from itertools import islice

from sqlalchemy.exc import SQLAlchemyError

from perdura.accounts import forgetting
from perdura.cloudevents.message import CloudEvent
from perdura.errors import PerduraError
from perdura.premis import seal
from perdura.registry import archive_index, deposits, duties, outbox, store_capabilities
from perdura.runtime import faults, jobs, notifications, schedules
from perdura.runtime.environment import Environment

_log = logging.getLogger(__name__)

BATCH = 100
SEAL_INTERVAL = timedelta(seconds=30)
WATCH_INTERVAL = timedelta(seconds=5)
PRUNE_INTERVAL = timedelta(hours=1)
PROBE_INTERVAL = timedelta(days=1)
NOTIFY_INTERVAL = timedelta(seconds=5)
JOBS_INTERVAL = timedelta(seconds=1)
FOLD_INTERVAL = timedelta(seconds=15)
HARVEST_INTERVAL = timedelta(seconds=5)


def tick(environment: Environment) -> Sequence[CloudEvent]:
    """Do what is due. CloudEvents of the duties go through the outbox and are returned for emission."""
    faults.reach("before-effect")
    sweep_outbox(environment)
    intervals = {
        "watch": WATCH_INTERVAL,
        "sweep": timedelta(seconds=environment.settings.sweep_seconds),
        "seal": SEAL_INTERVAL,
        "prune": PRUNE_INTERVAL,
        "probe": PROBE_INTERVAL,
        "fold": FOLD_INTERVAL,
        "harvest": HARVEST_INTERVAL,
        "jobs": JOBS_INTERVAL,
        "notify": NOTIFY_INTERVAL,
    }
    with environment.engine.begin() as connection:
        due = duties.due(connection, intervals)
    events: list[CloudEvent] = []
    if "watch" in due:
        with environment.engine.begin() as connection:
            events += duties.ask_again(connection, "/perdura/relay", BATCH)
    if "harvest" in due:
        events += schedules.tick(environment)
    if "sweep" in due:
        events += sweep_drop_zone(environment)
    if "probe" in due:
        probe_store(environment)
    if "seal" in due:
        seal.tick(environment.engine, environment.store, environment.settings)
    if "prune" in due:
        with environment.engine.begin() as connection:
            outbox.prune(connection, timedelta(days=environment.settings.keep_messages_days))
            forgetting.forget(connection, environment.settings)
    if "jobs" in due:
        events += jobs.tick(environment)
    if "notify" in due:
        notifications.tick(environment)
    if "fold" in due:
        with environment.engine.begin() as connection:
            archive_index.fold(connection)
    return events


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
    try:
        listing = environment.store.list(bucket, "")
        while batch := list(islice(listing, 1000)):
            arrivals = [
                deposits.Arrival(bucket, info.ref.key, info.ref.version_id, info.ref.etag, info.size)
                for info in batch
                if not info.ref.key.endswith("/")
            ]
            with environment.engine.begin() as connection:
                for arrival in deposits.unknown_keys(connection, arrivals):
                    events += deposits.receive(connection, arrival, source="/perdura/relay").events
    except (PerduraError, SQLAlchemyError) as error:
        _log.warning("the drop zone could not be swept: %s", error)
    return events


def probe_store(environment: Environment) -> None:
    """Try what the object store can do and record it; correctness never rests on the answer."""
    from perdura.storage.capabilities import probe
    from perdura.storage.s3 import S3Store

    if not isinstance(environment.store, S3Store):
        return
    try:
        found = probe(environment.store)
        with environment.engine.begin() as connection:
            store_capabilities.record(connection, environment.settings.s3_endpoint, found)
    except (PerduraError, SQLAlchemyError) as error:
        _log.warning("the object store could not be probed: %s", error)
