"""The part of the tick of `archive-cta` that calls off what cancelled steps left at the tape system."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from perdura.cloudevents.build import build
from perdura.cloudevents.message import CloudEvent
from perdura.ports import TapeSystem
from perdura.premis import log
from perdura.registry import outbox, tape_left, work
from perdura.runtime.environment import Environment
from perdura.runtime.recording import tell
from perdura.steps import archive_left, recall_left
from perdura.steps.archive_left import Ended


def call_off(environment: Environment, function: str, needs: frozenset[str]) -> list[CloudEvent]:
    """Call off jobs and stage requests, and record how they ended; returns the CloudEvents to emit.

    The rows stay locked while the tape system is asked, so that overlapping ticks never do it twice.
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
            tape_left.looked_at(connection, looked.job, looked.found, over=bool(looked.ended))
            for ended in looked.ended:
                told += _recorded(connection, ended, function)
    return told


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
            done, event = recall_left.call_off(left, tape, environment.ports(left.archive, function, needs))
            if done:
                tape_left.called_off(connection, left.archive.step.id)
            if event is not None and not log.append_free(connection, [event], actor=function):
                told += tell(connection, [event])
    return told
