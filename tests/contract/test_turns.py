"""Back-pressure: what is too much waits for its turn; lanes and shares take turns; nothing is lost or failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from perdura.ids import new_id
from perdura.registry import archives, collections, deposits, turns
from perdura.registry.archives import HarvestWanted

pytestmark = pytest.mark.stack

Begin = Callable[..., UUID]


@pytest.fixture
def begin(database: Engine) -> Begin:
    def begin(source: str | None = None, *, bulk: bool = False, collection: UUID | None = None) -> UUID:
        with database.begin() as connection:
            if source:
                made = archives.start_harvest(connection, HarvestWanted(source=source, recid=str(new_id()))).archive
            else:
                arrival = deposits.Arrival("perdura-incoming", str(new_id()), None, "e", 1)
                made = deposits.receive(connection, arrival, source="/test").archive
            if bulk:
                connection.execute(text("UPDATE archive SET origin = 'announcement' WHERE id = :id"), {"id": made})
            if collection:
                collections.add(connection, collection, [made])
            return archives.first_step_id(made)

    return begin


def state(database: Engine, step: UUID) -> tuple[str, str | None, bool]:
    with database.connect() as connection:
        row = connection.execute(
            text("SELECT state, error_code, poll_at IS NULL AS held FROM step WHERE id = :id"), {"id": step}
        ).one()
        return tuple(row)  # type: ignore[return-value]


def hold(database: Engine, *steps: UUID, limit: int = 1) -> list[bool]:
    held = []
    for step in steps:
        with database.begin() as connection:
            held.append(turns.hold(connection, step, limit))
    return held


def give(database: Engine, limit: int) -> list[UUID]:
    with database.begin() as connection:
        return [UUID(event.data["step"]) for event in turns.give(connection, limit, "/test")]


def done(database: Engine, step: UUID) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE step SET state = 'completed' WHERE id = :id"), {"id": step})


def test_below_the_limit_nobody_waits(database: Engine, begin: Begin) -> None:
    assert hold(database, begin(), limit=1) == [False]


def test_what_is_too_much_waits_visibly_and_comes_when_there_is_room(database: Engine, begin: Begin) -> None:
    first, second = begin(), begin()
    assert hold(database, second) == [True]
    assert state(database, second) == ("queued", turns.WAITS, True)
    assert give(database, 1) == []
    done(database, first)
    assert give(database, 1) == [second]
    assert state(database, second) == ("queued", None, False)
    assert hold(database, second, limit=1) == [False]
    begin()
    assert hold(database, second, limit=1) == [False], "a turn that was given is not taken back"


def test_held_twice_waits_once(database: Engine, begin: Begin) -> None:
    first, step = begin(), begin()
    assert hold(database, step, step) == [True, True]
    done(database, first)
    assert hold(database, step) == [True], "there is room, but its turn was not given yet"
    assert give(database, 9) == [step]
    assert give(database, 9) == []


def test_the_watchdog_leaves_those_alone_who_wait_for_their_turn(database: Engine, begin: Begin) -> None:
    from perdura.registry import duties

    first, second = begin(), begin()
    hold(database, second)
    with database.begin() as connection:
        connection.execute(text("UPDATE step SET poll_at = poll_at - interval '1 day'"))
        assert [UUID(event.data["step"]) for event in duties.ask_again(connection, "/test")] == [first]


def test_without_a_limit_everybody_who_waited_is_begun(database: Engine, begin: Begin) -> None:
    begin()
    steps = [begin() for _ in range(3)]
    hold(database, *steps)
    assert set(give(database, 0)) == set(steps)


def test_shares_take_turns_however_many_one_of_them_has(database: Engine, begin: Begin) -> None:
    with database.begin() as connection:
        small = collections.create(connection, "small")
    running = begin()
    flood = [begin("flood") for _ in range(30)]
    others = [begin(collection=small) for _ in range(3)]
    assert all(hold(database, *flood, *others))
    order = []
    for _ in range(8):
        done(database, running)
        (running,) = give(database, 1)
        order.append(running)
    assert Counter(step in others for step in order) == {True: 3, False: 5}
    assert set(others) <= set(order[:6])


def test_deposits_of_people_go_before_batches_until_those_have_waited_for_an_hour(
    database: Engine, begin: Begin
) -> None:
    running = begin()
    batch, older, person = begin(bulk=True), begin(bulk=True), begin()
    hold(database, batch, older, person)
    with database.begin() as connection:
        connection.execute(
            text("UPDATE turn SET asked_at = asked_at - interval '61 minutes' WHERE step_id = :id"), {"id": older}
        )
    order = []
    for _ in range(3):
        done(database, running)
        (running,) = give(database, 1)
        order.append(running)
    assert order.index(batch) == 2


def test_a_retry_of_a_person_does_not_wait(database: Engine, begin: Begin) -> None:
    begin()
    step = begin()
    with database.begin() as connection:
        connection.execute(text("UPDATE step SET attempt = 2 WHERE id = :id"), {"id": step})
    assert hold(database, step) == [False]
