"""The tick of `archive-cta`: containers filled, jobs looked at or called off, credentials renewed, drills, expiry."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from perdura import __version__
from perdura.cloudevents.message import CloudEvent
from perdura.database import passing
from perdura.errors import PerduraError
from perdura.ids import derived_id
from perdura.premis import log
from perdura.premis.model import Event, Identifier, Outcome
from perdura.registry import duties, tape_containers, tape_duties
from perdura.runtime import tape_left
from perdura.runtime.environment import Environment
from perdura.runtime.polling import poll_waiting
from perdura.runtime.recording import tell
from perdura.steps import archive

_log = logging.getLogger(__name__)
NAME = "archive-cta"
NEEDS = frozenset({"tape"})
RENEWAL = timedelta(hours=1)
"""How often the proxy at FTS is looked at while jobs are open; it is renewed long before it ends (fts-cta.md 2.4)."""
EXPIRY = timedelta(minutes=10)
SOFTWARE = Identifier("software", f"perdura/{__version__} {NAME}", ("executing program",))


def tick(environment: Environment) -> Sequence[CloudEvent]:
    """Do what is due. Safe to run from several instances at once; returns the CloudEvents to emit.

    A duty that fails keeps none of the others waiting.
    """
    settings = environment.settings
    intervals = {"tape-renewal": RENEWAL, "tape-expiry": EXPIRY}
    with environment.engine.begin() as connection:
        due = duties.due(connection, intervals)
    events: list[CloudEvent] = []
    if "tape-renewal" in due:
        events += _done("renewal of credentials", lambda: renew(environment))
    if "tape-expiry" in due:
        events += _done("expiry of recalled copies", lambda: expire(environment))
    if settings.tape_drill_days:
        events += _done("restore drill", lambda: drill(environment))
    if settings.tape_group_below:
        events += _done("containers", lambda: fill_containers(environment))
    events += _done("jobs to be called off", lambda: tape_left.call_off(environment, NAME, NEEDS))
    return events + poll_waiting(environment, NAME, "archive", archive.poll, NEEDS, taken=tape_containers.alone)


def _done(duty: str, work: Callable[[], Sequence[CloudEvent] | None]) -> Sequence[CloudEvent]:
    """The CloudEvents of a duty; one that fails, be it by a statement that takes too long, is left to the next tick."""
    try:
        return work() or ()
    except Exception as error:
        _log.error("not done: %s", duty, exc_info=None if passing(error) else error)
        return ()


def renew(environment: Environment) -> None:
    """Keep our credentials fresh at FTS while jobs are open, and note how they are, in quiet times too."""
    now = datetime.now(UTC)
    tape = environment.tape
    if tape is None:
        return
    with environment.engine.connect() as connection:
        busy = tape_duties.jobs_open(connection)
    found, error = tape.credentials(), None
    try:
        found = tape.renew() if busy else found
    except PerduraError as problem:
        error = f"{problem.code}: {problem.message}"
        _log.error("credentials for tape: %s", error)
    if found.expires_at is not None:
        days = (found.expires_at - now).total_seconds() / 86400
        _log.info("credentials for tape last %.1f days", days, extra={"tape_certificate_days_left": round(days, 1)})
    with environment.engine.begin() as connection:
        tape_duties.note_credentials(connection, found, error, now)


def drill(environment: Environment) -> list[CloudEvent]:
    """Begin a restore drill when it is due: a sample of the copies on tape is recalled and verified from end to end.

    It counts as done by the transaction that asks for the recalls.
    """
    if environment.tape is None:
        return []
    seed = datetime.now(UTC).date().isoformat()
    interval = {"tape-drill": timedelta(days=environment.settings.tape_drill_days)}
    with environment.engine.begin() as connection:
        if not duties.due(connection, interval):
            return []
        return tape_duties.begin_drill(connection, count=environment.settings.tape_drill_copies, seed=seed)


def expire(environment: Environment) -> list[CloudEvent]:
    """Remove recalled copies whose time is over: the AIPs themselves stay where they are, and the log says so."""
    now = datetime.now(UTC)
    with environment.engine.begin() as connection:
        over = tape_duties.recalled_and_over(connection, now)
        gone = []
        for restored in over:
            try:
                if not restored.shared:
                    environment.store.delete(restored.ref)
            except PerduraError as error:
                _log.warning("a recalled copy stays: %s", error.message, extra={"step": restored.step})
                continue
            gone.append(restored)
        if not gone:
            return []
        tape_duties.removed(connection, [restored.step for restored in gone], now)
        events = [_deletion(restored, now) for restored in gone if not restored.shared]
        log.append(connection, events, actor=NAME)
        return tell(connection, events)


def _deletion(restored: tape_duties.Restored, now: datetime) -> Event:
    return Event(
        id=derived_id("premis", restored.step, "recalled-copy-removed"),
        type="deletion",
        at=now,
        details=(
            f"recalled copy {restored.ref.bucket}/{restored.ref.key}, {restored.size} bytes: its time was over on "
            f"{restored.expired_at.isoformat()}; the package itself is kept",
        ),
        outcomes=(Outcome(),),
        agents=(SOFTWARE,),
        objects=tuple(Identifier("UUID", str(each)) for each in (restored.aip, restored.archive) if each is not None),
    )


def fill_containers(environment: Environment) -> None:
    """Put small AIPs that wait for company into containers."""
    settings = environment.settings
    with environment.engine.begin() as connection:
        made = tape_containers.fill(
            connection,
            largest=min(settings.tape_group_size, settings.tape_largest),
            seconds=settings.tape_group_seconds,
        )
    for container in made:
        _log.info("container %s: %d AIPs, %d bytes", container.id, len(container.members), container.size)
