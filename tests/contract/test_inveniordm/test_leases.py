"""What a publication does when the registry is not to be had for a while, or the lease of the record is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from perdura.errors import Retryable
from perdura.outcome import StepState
from tests.contract.test_inveniordm.meanwhile import World

pytestmark = pytest.mark.stack


@contextmanager
def small_pool(database: Engine) -> Iterator[Engine]:
    """One connection for everything, which nobody waits for long."""
    made = create_engine(database.url, pool_size=1, max_overflow=0, pool_timeout=0.2)
    try:
        yield made
    finally:
        made.dispose()


def end_lease(database: Engine) -> None:
    """The holder of every lease was silent for long enough."""
    with database.begin() as connection:
        connection.execute(text("UPDATE publication_lease SET ends_at = clock_timestamp()"))


def test_a_pool_without_room_after_files_were_sent_keeps_what_was_sent(
    made: Callable[..., World], database: Engine
) -> None:
    world = made()
    with small_pool(database) as pool:
        starved = replace(world, database=pool)
        taken: list[Any] = []
        outcome = starved.publish("PUT", "/draft", lambda: taken.append(pool.connect()))
        with closing(taken[0]):
            assert (outcome.state, outcome.error_code) == (StepState.WAITING, "database-unavailable")
            assert len(outcome.checkpoint["sent"]["library"]["md5"]) == 3
    world.archive = replace(world.archive, step=replace(world.archive.step, checkpoint=outcome.checkpoint))
    with pytest.raises(Retryable, match="Another delivery"):
        world.publish()
    end_lease(database)

    def again() -> None:
        raise AssertionError("a file is sent again")

    assert world.publish("PUT", "/content", again).state is StepState.COMPLETED
    assert len(world.target.published(world.resource)) == 1


def test_who_was_taken_for_dead_leaves_the_publication_to_the_other(made: Callable[..., World]) -> None:
    """While files are sent the lease ends, and another publishes the record; the first does no more, and fails not."""
    world, others = made(), []

    def overtake() -> None:
        end_lease(world.database)
        others.append(world.publish())

    with pytest.raises(Retryable, match="taken over") as lost:
        world.publish("POST", "/commit", overtake)
    assert lost.value.code == "lock-lost"
    assert [other.state for other in others] == [StepState.COMPLETED]
    (record,) = world.target.published(world.resource)
    noted = world.placements.known("library", world.archive.id)
    assert noted is not None
    assert (noted.record, noted.state) == (record.id, "published")
    assert world.publish().state is StepState.COMPLETED
    assert len(world.target.published(world.resource)) == 1
