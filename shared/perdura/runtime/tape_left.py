"""The part of the tick of `archive-cta` that calls off what cancelled steps left at the tape system."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from perdura.cloudevents.build import build
from perdura.cloudevents.message import CloudEvent
from perdura.database import passing
from perdura.ports import TapeSystem
from perdura.premis import log
from perdura.recordable import recordable
from perdura.registry import outbox, tape_left, work
from perdura.runtime.environment import Environment
from perdura.runtime.recording import tell
from perdura.steps import archive_left, recall_left
from perdura.steps.archive_left import Ended, Looked

_log = logging.getLogger(__name__)


def call_off(environment: Environment, function: str, needs: frozenset[str]) -> list[CloudEvent]:
    """Call off jobs and stage requests, and record how they ended; returns the CloudEvents to emit.

    The rows stay locked while the tape system is asked, so that overlapping ticks never do it twice. What cannot be
    recorded of one is left to the next tick, and the others are called off.
    """
    tape = environment.tape
    if tape is None:
        return []
    with environment.engine.connect() as connection:
        if not tape_left.anything(connection):
            return []
    return _jobs(environment, tape, function, needs) + _recalls(environment, tape, function, needs)


def _jobs(environment: Environment, tape: TapeSystem, function: str, needs: frozenset[str]) -> list[CloudEvent]:
    told: list[CloudEvent] = []
    with environment.engine.begin() as connection:
        left = tape_left.jobs(connection, archive_left.MOST)
        if not left:
            return []
        ports = environment.ports(left[0].copies[0].archive, function, needs)
        for looked in archive_left.call_off(left, tape, ports):
            try:
                with connection.begin_nested():
                    told += _ended(connection, looked, function)
            except Exception as error:
                _left(error, looked.job.key)
                tape_left.looked_at(connection, looked.job, None, over=False)
    return told


def _left(error: Exception, what: object) -> None:
    """Say that this one is left to the next tick; a database that is not there raises again."""
    if passing(error):
        raise error
    _log.exception("not called off: %s", what)


def _ended(connection: Connection, looked: Looked, function: str) -> list[CloudEvent]:
    tape_left.looked_at(connection, looked.job, looked.found, over=bool(looked.ended))
    return [event for ended in looked.ended for event in _recorded(connection, recordable(ended), function)]


def _recorded(connection: Connection, ended: Ended, function: str) -> Sequence[CloudEvent]:
    if ended.copies:
        work.keep(connection, ended.archive.id, (), ended.copies)
    now, step = datetime.now(UTC), ended.archive.step.id
    facts = [
        build(fact.type, fact.data, source=f"/perdura/{function}", at=now, archive=ended.archive.id, key=(step, n))
        for n, fact in enumerate(ended.facts)
    ]
    if facts:
        outbox.write(connection, facts)
    log.append(connection, ended.events, actor=function)
    return [*facts, *tell(connection, ended.events)]


def _recalls(environment: Environment, tape: TapeSystem, function: str, needs: frozenset[str]) -> list[CloudEvent]:
    told: list[CloudEvent] = []
    with environment.engine.begin() as connection:
        for left in tape_left.recalls(connection, recall_left.MOST):
            try:
                with connection.begin_nested():
                    done, event = recall_left.call_off(left, tape, environment.ports(left.archive, function, needs))
                    if done:
                        tape_left.called_off(connection, left.archive.step.id)
                    event = recordable(event)
                    if event is not None and not log.append_free(connection, [event], actor=function):
                        told += tell(connection, [event])
            except Exception as error:
                _left(error, left.archive.step.id)
    return told
