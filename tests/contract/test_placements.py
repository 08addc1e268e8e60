"""What the registry knows of Archives on access systems: a withdrawal is undone by nothing that was under way."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from perdura.cloudevents.message import CloudEvent
from perdura.ids import new_id
from perdura.outcome import Outcome, Package, PackageKind, StepState
from perdura.ports import Offer, Placed, Standing
from perdura.registry import archives, deposits, withdrawals, work
from perdura.registry.placements import RegistryPlacements

pytestmark = pytest.mark.stack

PAGES = "access-pages"
WITHDRAWN = Placed("page", "withdrawn", {"reason": "copyright"})


@pytest.fixture
def publishing(database: Engine) -> tuple[work.Started, UUID]:
    """A running step of an Archive with an AIP, whose id is the second value."""
    aip = new_id()
    with database.begin() as connection:
        begun = deposits.receive(connection, deposits.Arrival("incoming", "bag.zip", None, "etag", 10), source="/test")
    with database.begin() as connection:
        started = work.start(
            connection, archives.first_step_id(begun.archive), CloudEvent(id="1", source="/t", type="t")
        )
        package = Package(aip, PackageKind.AIP, "aips", "k", "tar", 10, "v1", "e", {"sha256": "ab"})
        work.keep(connection, begun.archive, [package], [])
    assert started is not None
    return started, aip


def shown(database: Engine, archive: UUID) -> bool:
    """Whether the access pages show the Archive."""
    with database.connect() as connection:
        found = connection.execute(text("SELECT 1 FROM publication WHERE archive_id = :id"), {"id": archive})
        return found.one_or_none() is not None


def closed(database: Engine, started: work.Started) -> None:
    """The step ends and says that the Archive is published on the access pages."""
    outcome = Outcome(published={PAGES: "https://access.test/1"})
    with database.begin() as connection:
        work.close(connection, started, outcome)


def test_a_withdrawal_takes_an_archive_off_the_pages_by_itself(
    database: Engine, publishing: tuple[work.Started, UUID]
) -> None:
    started, aip = publishing
    places, archive = RegistryPlacements(database), started.archive.id
    assert places.offer(PAGES, archive, Offer(aip, "dip"))
    closed(database, started)
    assert shown(database, archive)
    places.take_off(PAGES, archive, WITHDRAWN)
    assert not shown(database, archive)
    assert places.everywhere(archive)[PAGES].state == "withdrawn"


def test_what_is_withdrawn_while_it_is_published_is_not_shown(
    database: Engine, publishing: tuple[work.Started, UUID]
) -> None:
    started, aip = publishing
    places, archive = RegistryPlacements(database), started.archive.id
    places.offer(PAGES, archive, Offer(aip, "dip"))
    places.take_off(PAGES, archive, WITHDRAWN)
    assert not places.offer(PAGES, archive, Offer(aip, "dip"))
    closed(database, started)
    assert not shown(database, archive)


def test_a_publication_that_closes_during_a_withdrawal_waits_for_it(
    database: Engine, publishing: tuple[work.Started, UUID]
) -> None:
    started, aip = publishing
    places, archive = RegistryPlacements(database), started.archive.id
    places.offer(PAGES, archive, Offer(aip, "dip"))
    with database.connect() as connection, connection.begin() as withdrawal:
        connection.execute(text("SELECT 1 FROM archive WHERE id = :id FOR UPDATE"), {"id": archive})
        connection.execute(text("UPDATE placement SET state = 'withdrawn' WHERE archive_id = :id"), {"id": archive})
        closing = threading.Thread(target=closed, args=(database, started))
        closing.start()
        closing.join(0.5)
        assert closing.is_alive()
        withdrawal.commit()
    closing.join()
    assert not shown(database, archive)


def test_only_the_withdrawal_that_a_person_saw_is_undone(
    database: Engine, publishing: tuple[work.Started, UUID]
) -> None:
    started, aip = publishing
    places, archive = RegistryPlacements(database), started.archive.id
    places.offer(PAGES, archive, Offer(aip, "dip"))
    places.take_off(PAGES, archive, WITHDRAWN)
    seen = places.known(PAGES, archive)
    places.take_off(PAGES, archive, Placed("page", "withdrawn", {"reason": "personal-data"}))
    assert not places.offer(PAGES, archive, Offer(aip, "dip"), seen)
    assert places.offer(PAGES, archive, Offer(aip, "dip"), places.known(PAGES, archive))


@pytest.mark.parametrize("destination", [PAGES, None])
def test_what_was_decided_to_be_withdrawn_is_neither_offered_nor_shown(
    database: Engine, publishing: tuple[work.Started, UUID], destination: str | None
) -> None:
    """The decision alone is enough, before any step carried it out, and until it is lifted."""
    started, aip = publishing
    places, archive = RegistryPlacements(database), started.archive.id
    with database.begin() as connection:
        withdrawals.decide(connection, archive, destination)
    standing = places.standing(archive)
    assert standing is not None
    assert standing.withdrawn_from({PAGES})
    assert standing.withdrawn_from({"library"}) is (destination is None)
    assert not places.offer(PAGES, archive, Offer(aip, "dip"))
    assert places.known(PAGES, archive) is None
    closed(database, started)
    assert not shown(database, archive)
    with database.begin() as connection:
        withdrawals.lift(connection, archive)
    assert places.standing(archive) == Standing(restricted=False, metadata=standing.metadata)
    assert places.offer(PAGES, archive, Offer(aip, "dip"))


def test_a_withdrawal_that_is_decided_while_a_publication_closes_waits_for_it(
    database: Engine, publishing: tuple[work.Started, UUID]
) -> None:
    started, _ = publishing

    def decide() -> None:
        with database.begin() as connection:
            withdrawals.decide(connection, started.archive.id, None)

    with database.connect() as connection, connection.begin() as closing:
        work.close(connection, started, Outcome())
        deciding = threading.Thread(target=decide)
        deciding.start()
        deciding.join(0.5)
        assert deciding.is_alive()
        closing.commit()
    deciding.join()


def test_every_record_is_remembered_and_a_withdrawn_one_stays_withdrawn(
    database: Engine, publishing: tuple[work.Started, UUID]
) -> None:
    archive = publishing[0].archive.id
    places = RegistryPlacements(database)
    for record, state in (("one", "draft"), ("one", "published"), ("two", "published"), ("two", "withdrawn")):
        places.note("library", archive, Placed(record, state))
    places.note("library", archive, Placed("two", "published"))
    assert places.records("library", archive) == ["one", "two"]
    assert places.known("library", archive) == Placed("two", "withdrawn")


def test_what_people_decide_is_seen_at_once(database: Engine, publishing: tuple[work.Started, UUID]) -> None:
    archive, places = publishing[0].archive.id, RegistryPlacements(database)
    with database.begin() as connection:
        connection.execute(
            text('UPDATE archive SET restricted = true, metadata = \'{"embargo_until": "2990-01-01"}\' WHERE id = :id'),
            {"id": archive},
        )
    assert places.standing(archive) == Standing(restricted=True, metadata={"embargo_until": "2990-01-01"})
    assert places.standing(new_id()) is None


def test_a_step_tells_of_all_that_it_published_and_each_is_dated_once(
    database: Engine, publishing: tuple[work.Started, UUID]
) -> None:
    started, _ = publishing
    pages = {"destination": PAGES, "url": "https://access.test/1"}
    library = {"destination": "library", "url": "https://library.test/1"}
    first = Outcome(
        StepState.WAITING, {"publications": [pages]}, published={PAGES: pages["url"]}, checkpoint={"done": {PAGES: {}}}
    )
    last = Outcome(output={"publications": [pages, library]}, published={"library": library["url"]})
    dated = []
    for outcome in (first, last):
        with database.begin() as connection:
            work.close(connection, started, outcome)
        with database.connect() as connection:
            rows = connection.execute(
                text("SELECT destination, changed_at FROM publication WHERE archive_id = :id"),
                {"id": started.archive.id},
            )
            dated.append({row.destination: row.changed_at for row in rows})
            told = connection.execute(
                text("SELECT output -> 'publications' FROM step WHERE id = :id"), {"id": started.archive.step.id}
            ).scalar_one()
    assert [set(each) for each in dated] == [{PAGES}, {PAGES, "library"}]
    assert dated[0][PAGES] == dated[1][PAGES]
    assert told == [pages, library]
