"""The lease of a publication: one holder at a time, no connection while it works, and nothing noted by who lost it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from time import monotonic, sleep

import pytest
from sqlalchemy import Engine, create_engine, text

from perdura.database import passing
from perdura.errors import DatabaseUnavailable, Retryable
from perdura.ids import new_id
from perdura.ports import Placed
from perdura.registry import publication_leases
from perdura.registry.placements import RegistryPlacements

pytestmark = pytest.mark.stack

SYSTEM, RESOURCE = "https://library.test", "oais:cds:1"


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> float:
    """A lease so brief that a test can wait for its end."""
    monkeypatch.setattr(publication_leases, "LEASE", 0.9)
    return 0.9


def refused(places: RegistryPlacements, resource: str = RESOURCE) -> str | None:
    """Why the lease cannot be had; it is given back at once when it can."""
    try:
        with places.hold(SYSTEM, resource):
            return None
    except Retryable as error:
        return error.code


def leases(database: Engine) -> int:
    with database.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM publication_lease")).scalar_one())


def silent(database: Engine) -> None:
    """The holder gives no sign of life for longer than a lease."""
    with database.begin() as connection:
        connection.execute(text("UPDATE publication_lease SET ends_at = clock_timestamp() - interval '1 second'"))


def test_one_worker_holds_it_and_gives_it_back_whatever_happens(database: Engine) -> None:
    places = RegistryPlacements(database)
    with places.hold(SYSTEM, RESOURCE):
        assert refused(places) == "busy"
        assert refused(places, "oais:cds:2") is None
    assert refused(places) is None
    with pytest.raises(ZeroDivisionError), places.hold(SYSTEM, RESOURCE):
        raise ZeroDivisionError
    assert refused(places) is None
    assert leases(database) == 0


def test_no_connection_is_held_meanwhile(database_url: str) -> None:
    """More uploads at once than there are connections, each of which looks at the registry again and again."""
    database = create_engine(database_url, pool_size=2, max_overflow=0, pool_timeout=5)
    places, both, failures = RegistryPlacements(database), threading.Barrier(8, timeout=20), []

    def upload(number: int) -> None:
        try:
            with places.hold(SYSTEM, f"oais:cds:{number}") as held:
                both.wait()
                for _ in range(5):
                    held.confirm()
                    held.standing(new_id())
                both.wait()
        except Exception as error:
            failures.append(error)
            both.abort()

    workers = [threading.Thread(target=upload, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert (database.pool.checkedout(), leases(database)) == (0, 0)  # type: ignore[attr-defined]
    database.dispose()


def test_it_is_renewed_during_a_request_that_takes_longer_than_it_lasts(database: Engine, brief: float) -> None:
    places = RegistryPlacements(database)
    with places.hold(SYSTEM, RESOURCE) as held:
        end = monotonic() + 3 * brief
        while monotonic() < end:
            assert refused(places) == "busy"
            sleep(0.05)
        held.confirm()


def test_it_is_not_renewed_for_ever(database: Engine, brief: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose request never ends is followed by another, as one that was killed is."""
    monkeypatch.setattr(publication_leases, "LONGEST", brief)
    places = RegistryPlacements(database)
    with places.hold(SYSTEM, RESOURCE) as held:
        until(lambda: refused(places) is None)
        with pytest.raises(Retryable, match="taken over"):
            held.confirm()


def test_who_was_taken_for_dead_confirms_and_notes_nothing_and_takes_nothing_from_the_other(database: Engine) -> None:
    places, archive = RegistryPlacements(database), new_id()
    with database.begin() as connection:
        connection.execute(text("INSERT INTO archive (id, pipeline, origin) VALUES (:id, '[]', 't')"), {"id": archive})
    with places.hold(SYSTEM, RESOURCE) as dead:
        dead.note("library", archive, Placed("draft-1", "draft"))
        silent(database)
        dead.confirm()
        silent(database)
        with places.hold(SYSTEM, RESOURCE) as living:
            living.note("library", archive, Placed("draft-1", "published"))
            with pytest.raises(Retryable, match="taken over"):
                dead.confirm()
            with pytest.raises(Retryable, match="taken over") as lost:
                dead.note("library", archive, Placed("draft-1", "draft"))
            assert lost.value.code == "lock-lost"
            assert living.known("library", archive) == Placed("draft-1", "published")
            living.confirm()
    with places.hold(SYSTEM, RESOURCE) as dead:
        silent(database)
        living_lease = places.hold(SYSTEM, RESOURCE)
        living_lease.__enter__()
    assert refused(places) == "busy"
    living_lease.__exit__(None, None, None)
    assert refused(places) is None


HOLDER = """
import sys, time
from sqlalchemy import create_engine
from perdura.registry import publication_leases
from perdura.registry.placements import RegistryPlacements
publication_leases.LEASE = float(sys.argv[2])
with RegistryPlacements(create_engine(sys.argv[1])).hold(sys.argv[3], sys.argv[4]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_killed_or_frozen_is_followed_after_the_lease(
    database: Engine, brief: float, how: signal.Signals
) -> None:
    places = RegistryPlacements(database)
    address = database.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, address, str(brief), SYSTEM, RESOURCE], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        sleep(2 * brief)
        assert refused(places) == "busy"
        holder.send_signal(how)
        until(lambda: refused(places) is None)
        holder.kill()


def test_a_pool_without_room_is_something_that_passes(database_url: str) -> None:
    database = create_engine(database_url, pool_size=1, max_overflow=0, pool_timeout=0.2)
    places, archive = RegistryPlacements(database), new_id()
    with places.hold(SYSTEM, RESOURCE) as held:
        with database.connect():
            for ask in (
                held.confirm,
                lambda: held.known("library", archive),
                lambda: held.standing(archive),
                lambda: held.note("library", archive, Placed("1", "draft")),
            ):
                with pytest.raises(DatabaseUnavailable) as told:
                    ask()
                assert told.value.retry_after
                assert passing(told.value.__cause__)  # type: ignore[arg-type]
        held.confirm()
    database.dispose()


def until(true: Callable[[], bool]) -> None:
    """Wait until it is so."""
    end = monotonic() + 15
    while not true():
        assert monotonic() < end
        sleep(0.05)
