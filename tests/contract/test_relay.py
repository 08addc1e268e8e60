"""One tick of the relay does what there is to do, however seldom ticks come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from perdura.cloudevents.message import CloudEvent
from perdura.ids import new_id
from perdura.registry import deposits, outbox, turns
from perdura.runtime import relay
from perdura.runtime.environment import Environment
from perdura.settings import Settings
from perdura.storage.memory import MemoryStore

pytestmark = pytest.mark.stack


@dataclass
class Broker:
    """Takes events, slowly where it is told to, or refuses them."""

    away: bool = False
    seconds: float = 0
    taken: list[str] = field(default_factory=list)
    tries: int = 0

    def post(self, event: CloudEvent) -> str | None:
        self.tries += 1
        time.sleep(self.seconds)
        if self.away:
            return "the broker answered 503"
        self.taken.append(event.id)
        return None

    def emit(self, events: Sequence[CloudEvent]) -> None:
        for event in events:
            self.post(event)


def surroundings(database: Engine, database_url: str, broker: Broker, **more: float) -> Environment:
    environment = Environment(Settings(database_url=database_url, **more))  # type: ignore[arg-type]
    vars(environment).update(engine=database, store=MemoryStore(), emitter=broker)
    return environment


def left_in_outbox(database: Engine, events: int) -> None:
    with database.begin() as connection:
        left = [CloudEvent(id=str(uuid4()), source="/t", type="org.perdura.tests.v1", data={}) for _ in range(events)]
        outbox.write(connection, left)
        connection.execute(text("UPDATE outbox SET next_at = now()"))


def deposited(database: Engine, number: int) -> None:
    """Archives whose first step was asked for; nothing is left in the outbox."""
    with database.begin() as connection:
        for _ in range(number):
            arrival = deposits.Arrival("perdura-incoming", str(new_id()), None, "e", 1)
            deposits.receive(connection, arrival, source="/test")
        connection.execute(text("DELETE FROM outbox"))


def count(database: Engine, statement: str) -> int:
    with database.connect() as connection:
        return int(connection.execute(text(statement)).scalar_one())


UNDELIVERED = "SELECT count(*) FROM outbox WHERE delivered_at IS NULL"


def test_a_tick_empties_the_outbox(database: Engine, database_url: str) -> None:
    broker = Broker()
    left_in_outbox(database, 350)
    relay.tick(surroundings(database, database_url, broker))
    assert len(set(broker.taken)) == 350
    assert count(database, UNDELIVERED) == 0


def test_a_tick_asks_a_broker_that_refuses_once(database: Engine, database_url: str) -> None:
    broker = Broker(away=True)
    left_in_outbox(database, 350)
    relay.tick(surroundings(database, database_url, broker))
    assert broker.tries == 1
    assert count(database, UNDELIVERED) == 350


def test_a_tick_asks_again_for_all_steps_that_nobody_works_on(database: Engine, database_url: str) -> None:
    broker = Broker()
    deposited(database, 250)
    with database.begin() as connection:
        connection.execute(text("UPDATE step SET poll_at = now() - interval '1 minute'"))
    last = relay.tick(surroundings(database, database_url, broker))
    assert len({*broker.taken, *(event.id for event in last)}) == 250
    assert count(database, "SELECT count(*) FROM step WHERE poll_at <= now()") == 0


def test_a_tick_gives_all_turns_there_is_room_for(database: Engine, database_url: str) -> None:
    deposited(database, 260)
    with database.begin() as connection:
        for step in connection.execute(text("SELECT id FROM step")).scalars().all():
            turns.hold(connection, step, 1)
    waiting = count(database, "SELECT count(*) FROM turn")
    relay.tick(surroundings(database, database_url, Broker(), archives_in_work=241))
    assert count(database, "SELECT count(*) FROM turn") == waiting - 240


def test_a_tick_ends_in_time_and_leaves_the_rest_to_the_next(
    database: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "TICK_SECONDS", 0.5)
    broker = Broker(seconds=0.01)
    left_in_outbox(database, 350)
    relay.tick(surroundings(database, database_url, broker))
    assert 0 < count(database, UNDELIVERED) < 350


def test_a_tick_that_comes_seldom_waits_for_what_becomes_due(database: Engine, database_url: str) -> None:
    broker = Broker()
    with database.begin() as connection:
        outbox.write(connection, [CloudEvent(id=str(uuid4()), source="/t", type="org.perdura.tests.v1", data={})])
        connection.execute(text("UPDATE outbox SET next_at = now() + interval '1 second'"))
    environment = surroundings(database, database_url, broker, tick_seconds=3)
    begun = time.monotonic()
    relay.tick(environment)
    assert time.monotonic() - begun >= 3
    assert len(broker.taken) == 1


def test_a_tick_with_nothing_to_do_ends_at_once(database: Engine, database_url: str) -> None:
    environment = surroundings(database, database_url, Broker())
    relay.tick(environment)
    begun = time.monotonic()
    relay.tick(environment)
    assert time.monotonic() - begun < 1
