"""The relay's tick: what was committed but not heard, lost but not forgotten, due but not done (architecture §2).

Every duty is idempotent and safe to run from many instances at once; a tick with nothing to do costs two statements.
A tick goes round for as long as any duty found as much as it does at once, so that how seldom ticks come (once a second
on one machine, every five on Knative, once a minute on OpenFaaS) does not bound how much is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from perdura import database
from perdura.accounts import forgetting
from perdura.cloudevents.message import CloudEvent
from perdura.errors import PerduraError
from perdura.premis import seal
from perdura.registry import archive_index, audits, deposits, duties, ended_embargoes, outbox, store_capabilities, turns
from perdura.runtime import faults, jobs, notifications, schedules
from perdura.runtime.environment import Environment
from perdura.settings import Settings
from perdura.storage.store import is_package_key

_log = logging.getLogger(__name__)

SOURCE = "/perdura/relay"
BATCH = 100
"""CloudEvents that are emitted, and steps that are asked for again, in one transaction."""

TICK_SECONDS = 60.0
"""For how long one tick goes round at most; the next goes on, or is at it already."""

WORDS = 200
"""Archives whose words are taken anew in one transaction."""

WORDS_SECONDS = 5.0
"""For how long one duty does it."""

Do = Callable[[Environment], Sequence[CloudEvent] | None]


@dataclass(frozen=True, slots=True)
class Duty:
    """What is done again and again: by which name it is remembered, how often at most, and what it does.

    Where it gave `batch` CloudEvents there may be more to do: it is done again in the same tick.
    """

    name: str
    every: timedelta
    do: Do
    batch: int | None = None


def duties_of(settings: Settings) -> tuple[Duty, ...]:
    """All duties of the relay beside the outbox, in the order in which a tick does those that are due."""
    return (
        Duty("watch", timedelta(seconds=5), watch, BATCH),
        Duty("turns", timedelta(seconds=1), give_turns, turns.MOST),
        Duty("harvest", timedelta(seconds=5), schedules.tick),
        Duty("sweep", timedelta(seconds=settings.sweep_seconds), sweep_drop_zone),
        Duty("probe", timedelta(days=1), probe_store),
        Duty("seal", timedelta(seconds=30), seal_log),
        Duty("audit", timedelta(seconds=5), audit),
        Duty("prune", timedelta(hours=1), prune),
        Duty("jobs", timedelta(seconds=1), jobs.tick),
        Duty("secrets", timedelta(minutes=1), notifications.seal_secrets),
        Duty("notify", timedelta(seconds=5), notify),
        Duty("fold", timedelta(seconds=15), fold_counts),
        Duty("embargoes", timedelta(minutes=5), end_embargoes),
        Duty("words", timedelta(seconds=10), take_words),
    )


def tick(environment: Environment) -> Sequence[CloudEvent]:
    """Do what is due, round after round, until nothing is left or the time is over.

    CloudEvents of the duties go through the outbox; those of the last round are returned for emission. Where ticks come
    seldom, `PERDURA_TICK_SECONDS` has them wait for what becomes due meanwhile.
    """
    settings = environment.settings
    begun = time.monotonic()
    until, end = begun + settings.tick_seconds, begun + min(0.9 * settings.invocation_seconds, TICK_SECONDS)
    again: set[str] = set()
    while True:
        faults.reach("before-effect")
        more = sweep_outbox(environment)
        events, again = _do_due(environment, again)
        now = time.monotonic()
        if now >= end or not (more or again or now < until):
            return events
        environment.emitter.emit(events)
        if not more and not again:
            time.sleep(1)


def _do_due(environment: Environment, again: set[str]) -> tuple[list[CloudEvent], set[str]]:
    """Do the duties that are due or to be done `again`; gives their CloudEvents and which of them left something.

    A duty that fails leaves the others to be done; it is due again after its interval.
    """
    known = duties_of(environment.settings)
    with environment.engine.begin() as connection:
        due = duties.due(connection, {duty.name: duty.every for duty in known}) | again
    events: list[CloudEvent] = []
    left: set[str] = set()
    for duty in known:
        if duty.name in due:
            try:
                made = duty.do(environment) or ()
            except Exception as error:
                expected = isinstance(error, PerduraError) or database.passing(error)
                said = error if isinstance(error, PerduraError) else type(error).__name__
                _log.warning("%s: %s", duty.name, said, exc_info=None if expected else error)
                continue
            events += made
            if duty.batch is not None and len(made) >= duty.batch:
                left.add(duty.name)
    return events, left


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


def audit(environment: Environment) -> Sequence[CloudEvent]:
    """Have AIPs in the store read again that nobody has read for long."""
    settings = environment.settings
    if not settings.audit_days:
        return ()
    with environment.engine.begin() as connection:
        unread = timedelta(days=settings.audit_days)
        return audits.begin_audits(connection, datetime.now(UTC), unread, settings.audits_at_once)


def prune(environment: Environment) -> None:
    """Forget messages that can come no more, and what expired of accounts."""
    with environment.engine.begin() as connection:
        outbox.prune(connection, timedelta(days=environment.settings.keep_messages_days))
        forgetting.forget(connection, environment.settings)


def fold_counts(environment: Environment) -> None:
    """Fold the changes of the counters into their totals."""
    with environment.engine.begin() as connection:
        archive_index.fold(connection)


def end_embargoes(environment: Environment) -> None:
    """Let harvesters know of the embargoes that ended."""
    with environment.engine.begin() as connection:
        ended_embargoes.date_anew(connection)


def take_words(environment: Environment) -> None:
    """Take the words of Archives anew, for a while, where the rule for them has changed."""
    end = time.monotonic() + WORDS_SECONDS
    while time.monotonic() < end:
        with environment.engine.begin() as connection:
            if not archive_index.take_words(connection, WORDS):
                return


def sweep_outbox(environment: Environment) -> bool:
    """Emit events that their function did not get to the broker, oldest first, until the broker refuses one.

    Whether there may be more: as many were taken as are looked at in one transaction.
    """
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
    return len(taken) == BATCH


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
