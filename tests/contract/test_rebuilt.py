"""Archives that a rebuild restricted are opened by a person, and the log tells of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from perdura.api.queries import published
from perdura.ids import new_id
from perdura.outcome import StepState
from perdura.ports import Placed
from perdura.premis import log
from perdura.premis.model import Event, Identifier
from perdura.registry import restriction, withdrawals
from perdura.registry.placements import RegistryPlacements
from perdura.registry.rebuilt import RebuiltArchive, RebuiltStep, insert, opened
from perdura.registry.transitions import DEPOSIT_PIPELINE, ArchiveState
from perdura.runtime.rebuild import _completed

pytestmark = pytest.mark.stack


def put(database: Engine, **more: Any) -> UUID:
    steps = [RebuiltStep(name, position, StepState.COMPLETED) for position, name in enumerate(DEPOSIT_PIPELINE)]
    made = RebuiltArchive(
        id=new_id(),
        title="A letter",
        origin="deposit",
        state=ArchiveState.COMPLETED,
        pipeline=DEPOSIT_PIPELINE,
        created_at=datetime.now(UTC),
        steps=steps,
        **more,
    )
    with database.begin() as connection:
        insert(connection, made)
    return made.id


def restricted(database: Engine) -> set[UUID]:
    with database.connect() as connection:
        return set(connection.execute(text("SELECT id FROM archive WHERE restricted")).scalars())


@pytest.mark.parametrize("withdrawn", [{}, {"library": "spam"}])
def test_records_on_access_systems_of_others_are_placed_again(database: Engine, withdrawn: dict[str, str]) -> None:
    records = [Placed(name, "published", {"url": f"https://library.example/{name}"}) for name in ("b", "a")]
    archive = put(database, placed={"library": records}, withdrawn=withdrawn)
    placements = RegistryPlacements(database)
    known = placements.known("library", archive)
    assert known is not None
    assert (known.record, known.state) == ("a", "withdrawn" if withdrawn else "published")
    assert placements.records("library", archive) == ["b", "a"]
    with database.connect() as connection:
        urls = connection.execute(
            text("SELECT url FROM publication WHERE archive_id = :id"), {"id": archive}
        ).scalars().all()  # fmt: skip
        assert urls == ([] if withdrawn else ["https://library.example/a"])
        assert published.is_placed_elsewhere(connection, archive) is not bool(withdrawn)


def test_only_what_the_rebuild_restricted_is_opened_and_once(database: Engine) -> None:
    by_source, first, second, public = (
        put(database, restricted=True),
        put(database, closed=True),
        put(database, closed=True),
        put(database),
    )
    assert restricted(database) == {by_source, first, second}
    with database.begin() as connection:
        assert opened(connection, [first, by_source, public]) == [first]
    assert restricted(database) == {by_source, second}
    with database.begin() as connection:
        assert opened(connection, None) == [second]
        assert opened(connection, None) == []
        told = connection.execute(text("SELECT count(*) FROM premis_log WHERE actor = 'perdura/rebuild'")).scalar()
    assert (restricted(database), told) == ({by_source}, 2)


def test_what_was_restricted_again_by_hand_is_not_opened_by_the_next_call(database: Engine) -> None:
    archive = put(database, closed=True)
    with database.begin() as connection:
        opened(connection, None)
        connection.execute(text("UPDATE archive SET restricted = true WHERE id = :id"), {"id": archive})
    with database.begin() as connection:
        assert opened(connection, None) == []
    assert restricted(database) == {archive}


def test_what_a_person_restricts_after_a_rebuild_is_not_opened_with_the_rest(database: Engine) -> None:
    archive = put(database, closed=True)
    with database.begin() as connection:
        restriction.decide(connection, archive, restricted=True, reason="", by=Identifier("account", "1"))
        assert opened(connection, None) == []
    assert restricted(database) == {archive}


def test_what_was_decided_to_be_withdrawn_stands_after_a_rebuild(database: Engine) -> None:
    archive = put(database, decided=frozenset({"library", None}))
    with database.connect() as connection:
        assert set(withdrawals.standing(connection, archive)) == {"library", None}


def published_on(archive: UUID, record: str) -> Event:
    """What a publication on an InvenioRDM tells the log."""
    return told(archive, "dissemination", f"published on library as https://library.example/{record}", record)


def told(archive: UUID, kind: str, detail: str, *records: str) -> Event:
    named = tuple(Identifier("InvenioRDM record", record, ("outcome",)) for record in records)
    objects = (Identifier("UUID", str(archive)), *named)
    return Event(new_id(), kind, datetime.now(UTC), (detail,), agents=(Identifier("software", "x"),), objects=objects)


def test_a_restored_dump_learns_of_records_and_withdrawals_that_came_after_it(database: Engine) -> None:
    """The log that was put back beside it tells of them; what the dump knows stays as it is."""
    first = Placed("one", "published", {"url": "https://library.example/one", "doi": "10.1234/one"})
    archives = [put(database, placed={"library": [first]}) for _ in range(3)]
    with database.begin() as connection:
        log.append(connection, [published_on(archive, "one") for archive in archives], actor="publish")
        logged = connection.execute(text("SELECT max(sequence) FROM premis_log")).scalar_one()
        newer, taken, same = archives
        decided = told(taken, "policy assignment", withdrawals.decided("library", "spam"))
        log.append(connection, [published_on(newer, "two")], actor="publish")
        log.append(connection, [decided], actor="registry")
    for again in range(2):
        with database.begin() as connection:
            noted = [_completed(connection, archive, logged) for archive in archives]
        assert noted == ([False] * 3 if again else [True, True, False])
    placements = RegistryPlacements(database)
    assert placements.records("library", newer) == ["one", "two"]
    known = placements.known("library", newer)
    assert known is not None
    assert known.record == "two"
    assert placements.known("library", same) == first
    with database.connect() as connection:
        assert withdrawals.standing(connection, taken) == ["library"]
        assert withdrawals.standing(connection, same) == []
