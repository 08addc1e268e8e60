"""Content that is kept once: of all deposits of one payload, one holds it and the others are told."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from perdura.ids import new_id
from perdura.registry import deposits
from perdura.registry.contents import RegistryContents

pytestmark = pytest.mark.stack


def an_archive(database: Engine) -> UUID:
    with database.begin() as connection:
        arrival = deposits.Arrival("perdura-incoming", str(new_id()), None, "e", 1)
        return deposits.receive(connection, arrival, source="/test").archive


def change(database: Engine, archive: UUID, what: str) -> None:
    with database.begin() as connection:
        connection.execute(text(f"UPDATE archive SET {what} WHERE id = :id"), {"id": archive})


def test_the_second_is_told_of_the_first(database: Engine) -> None:
    first, second = an_archive(database), an_archive(database)
    assert RegistryContents(database, first).claim("c") is None
    assert RegistryContents(database, first).claim("c") is None, "an attempt again is no duplicate of itself"
    assert RegistryContents(database, second).claim("c") == first
    assert RegistryContents(database, second).claim("d") is None


def test_of_many_at_once_one_holds_it(database: Engine) -> None:
    archives = [an_archive(database) for _ in range(6)]
    told: dict[UUID, UUID | None] = {}
    threads = [
        threading.Thread(target=lambda a=archive: told.update({a: RegistryContents(database, a).claim("c")}))
        for archive in archives
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holders = [archive for archive, other in told.items() if other is None]
    assert len(holders) == 1
    assert {other for other in told.values() if other is not None} == set(holders)


@pytest.mark.parametrize("state", ["rejected", "cancelled", "failed"])
def test_who_was_refused_holds_nothing(database: Engine, state: str) -> None:
    first, second, third = (an_archive(database) for _ in range(3))
    RegistryContents(database, first).claim("c")
    change(database, first, f"state = '{state}'")
    assert RegistryContents(database, second).claim("c") is None
    assert RegistryContents(database, third).claim("c") == second


def test_what_is_restricted_is_not_told(database: Engine) -> None:
    first, second = an_archive(database), an_archive(database)
    RegistryContents(database, first).claim("c")
    change(database, first, "restricted = true")
    assert RegistryContents(database, second).claim("c") is None
