"""What people decided of a version of a Resource holds for the next one from its beginning."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from perdura.outcome import ArchiveChange, Outcome, StepState
from perdura.premis import log
from perdura.premis.model import Identifier
from perdura.registry import archives, embargo_by_hand, restriction, work

pytestmark = pytest.mark.stack
BY = Identifier("account", "1", ("authorizer",))


def begun(database: Engine) -> tuple[UUID, work.Started]:
    """A new Archive whose harvest is under way."""
    with database.begin() as connection:
        made = archives.start_harvest(connection, archives.HarvestWanted(source="cds", recid="1"))
        started = work.start(connection, archives.first_step_id(made.archive), made.events[0])
    assert started is not None
    return made.archive, started


def harvested(database: Engine, under_way: tuple[UUID, work.Started] | None = None, **told: Any) -> UUID:
    """An Archive of the Resource whose harvest has told so much of it."""
    archive, started = under_way or begun(database)
    change = ArchiveChange(source="cds", recid="1", **told)
    with database.begin() as connection:
        work.close(connection, started, Outcome(StepState.COMPLETED, archive=change))
    return archive


def standing(database: Engine, archive: UUID) -> tuple[bool, Mapping[str, Any], list[str]]:
    """Restriction and metadata of an Archive, and what the log tells of it."""
    with database.connect() as connection:
        row = connection.execute(text("SELECT restricted, metadata FROM archive WHERE id = :id"), {"id": archive}).one()
        told = log.events_of(connection, archive_id=archive)
    return row.restricted, row.metadata, [detail for each in told for detail in each.event.details]


def decide(database: Engine, archive: UUID, *, restricted: bool | None, until: date | None = None) -> None:
    with database.begin() as connection:
        if restricted is not None:
            restriction.decide(connection, archive, restricted=restricted, reason="", by=BY)
        if until is not None:
            embargo_by_hand.decide(connection, archive, until)


def test_a_new_version_begins_with_what_was_decided_by_hand_of_the_one_before(database: Engine) -> None:
    decide(database, harvested(database), restricted=True, until=date(2990, 1, 1))
    begun(database)
    for _ in range(2):
        version = harvested(database, restricted=False, metadata={"embargo_until": "2027-01-01"})
        restricted, metadata, told = standing(database, version)
        assert restricted
        assert metadata == {"restricted_by_hand": True, "embargo_by_hand": True, "embargo_until": "2990-01-01"}
        assert told == ["As it was decided by hand of the version before: embargo until 2990-01-01, restricted"]


@pytest.mark.parametrize(("restricted", "until"), [(None, None), (False, None), (False, date(2020, 1, 1))])
def test_nothing_that_opens_is_handed_on(database: Engine, restricted: bool | None, until: date | None) -> None:
    decide(database, harvested(database), restricted=restricted, until=until)
    version = harvested(database, restricted=True, metadata={"embargo_until": "2990-01-01"})
    assert standing(database, version) == (True, {"embargo_until": "2990-01-01"}, [])


def test_what_is_decided_of_the_new_version_itself_holds(database: Engine) -> None:
    decide(database, harvested(database), restricted=True, until=date(2990, 1, 1))
    archive, started = begun(database)
    decide(database, archive, restricted=False, until=date(2028, 1, 1))
    harvested(database, (archive, started))
    restricted, metadata, _ = standing(database, archive)
    assert (restricted, metadata["embargo_until"]) == (False, "2028-01-01")


def test_what_came_to_nothing_is_no_version_before(database: Engine) -> None:
    decided = harvested(database)
    failed = harvested(database)
    decide(database, decided, restricted=True)
    assert standing(database, failed)[0] is False
    version = harvested(database)
    assert standing(database, version)[0] is True


def test_another_resource_is_not_concerned(database: Engine) -> None:
    decide(database, harvested(database), restricted=True)
    archive, started = begun(database)
    change = ArchiveChange(source="cds", recid="2")
    with database.begin() as connection:
        work.close(connection, started, Outcome(StepState.COMPLETED, archive=change))
    assert standing(database, archive) == (False, {}, [])
