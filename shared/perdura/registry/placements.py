"""Records on access systems as the registry knows them, and the lock under which one is made (inveniordm.md 4).

The lock is a lease (`publication_leases`). What is noted here is committed at once, so that a worker that takes over
knows which draft was begun.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from perdura.ports import Offer, Placed, Standing
from perdura.registry import earlier_versions, offers, publication_leases, withdrawals
from perdura.registry.archives import lock
from perdura.registry.publication_leases import Lease
from perdura.registry.transactions import transaction

_NOTE = text("""
    WITH remembered AS (
        INSERT INTO placed_record (destination, archive_id, record_id) VALUES (:destination, :archive, :record)
        ON CONFLICT DO NOTHING
    )
    INSERT INTO placement (destination, archive_id, record_id, state, details)
    VALUES (:destination, :archive, :record, :state, CAST(:details AS jsonb))
    ON CONFLICT (destination, archive_id) DO UPDATE SET record_id = excluded.record_id, state = excluded.state,
        details = excluded.details, updated_at = clock_timestamp()
    WHERE placement.state <> 'withdrawn' OR excluded.state = 'withdrawn'
""")

_OFF_THE_PAGES = text("""
    WITH unpublished AS (DELETE FROM publication WHERE archive_id = :archive AND destination = :destination)
    UPDATE placement SET state = 'withdrawn', details = CAST(:details AS jsonb), updated_at = clock_timestamp()
    WHERE archive_id = :archive AND destination = :destination
""")

_SHOWN = text("""
    SELECT state, details FROM placement WHERE destination = :destination AND archive_id = :archive FOR UPDATE
""")

_STANDING = text("""
    SELECT restricted, metadata, ARRAY(
        SELECT destination FROM withdrawal WHERE archive_id = archive.id AND lifted_at IS NULL
    ) AS withdrawn
    FROM archive WHERE id = :archive
""")

_SIBLINGS = text("""
    SELECT record_id FROM placement JOIN archive ON archive.id = archive_id
    WHERE resource_id = (SELECT resource_id FROM archive WHERE id = :archive) AND archive_id <> :archive
        AND destination = ANY (:destinations) AND placement.state <> 'withdrawn'
    ORDER BY placement.updated_at DESC LIMIT :most
""")

_SUCCESSORS = text("""
    SELECT record_id FROM placement JOIN archive ON archive.id = archive_id
        JOIN archive AS this ON this.resource_id = archive.resource_id
    WHERE this.id = :archive AND (archive.created_at, archive.id) > (this.created_at, this.id)
        AND destination = ANY (:destinations) AND placement.state = 'published'
    ORDER BY archive.created_at DESC LIMIT :most
""")

_COLLECTIONS = text("""
    SELECT collection.name FROM collection_member JOIN collection ON collection.id = collection_id
    WHERE archive_id = :archive ORDER BY collection.name
""")


SIBLINGS = 20
"""Records of a Resource that are told of at most; a search of the access system shows those before them."""


class RegistryPlacements:
    """The adapter of `perdura.ports.Placements` on the registry."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def hold(self, destination: str, resource: str) -> Iterator[LeasedPlacements]:
        """Be the only one that publishes this resource at this destination; raises Retryable when another is."""
        with publication_leases.held(self._engine, destination, resource) as lease:
            yield LeasedPlacements(self._engine, lease)

    def known(self, destination: str, archive: UUID) -> Placed | None:
        """What was noted last."""
        with transaction(self._engine) as connection:
            row = connection.execute(
                text(
                    "SELECT record_id, state, details FROM placement "
                    "WHERE destination = :destination AND archive_id = :archive"
                ),
                {"destination": destination, "archive": archive},
            ).one_or_none()
        return None if row is None else Placed(row.record_id, row.state, row.details)

    def everywhere(self, archive: UUID) -> Mapping[str, Placed]:
        """What was noted last, by destination, of one that is configured no longer as well."""
        with transaction(self._engine) as connection:
            rows = connection.execute(
                text("SELECT destination, record_id, state, details FROM placement WHERE archive_id = :archive"),
                {"archive": archive},
            ).all()
        return {row.destination: Placed(row.record_id, row.state, row.details) for row in rows}

    def records(self, destination: str, archive: UUID) -> Sequence[str]:
        """Every record that was ever noted, the oldest first."""
        with transaction(self._engine) as connection:
            return (
                connection.execute(
                    text(
                        "SELECT record_id FROM placed_record WHERE destination = :destination "
                        "AND archive_id = :archive ORDER BY created_at, record_id"
                    ),
                    {"destination": destination, "archive": archive},
                )
                .scalars()
                .all()
            )

    def siblings(self, destinations: Collection[str], archive: UUID) -> Sequence[str]:
        """Records that other Archives of the same Resource have at any of these, the last noted first."""
        values = {"destinations": sorted(destinations), "archive": archive, "most": SIBLINGS}
        with transaction(self._engine) as connection:
            return connection.execute(_SIBLINGS, values).scalars().all()

    def successors(self, destinations: Collection[str], archive: UUID) -> Sequence[str]:
        """Records that later Archives of the same Resource have published at any of these, the latest first."""
        values = {"destinations": sorted(destinations), "archive": archive, "most": SIBLINGS}
        with transaction(self._engine) as connection:
            return connection.execute(_SUCCESSORS, values).scalars().all()

    def take_off(self, destination: str, archive: UUID, placed: Placed) -> None:
        """Note that an Archive was withdrawn from access pages, which show it no longer from this commit on."""
        with transaction(self._engine) as connection:
            lock(connection, archive)
            connection.execute(
                _OFF_THE_PAGES,
                {"destination": destination, "archive": archive, "details": json.dumps(dict(placed.details))},
            )

    def standing(self, archive: UUID) -> Standing | None:
        """Restriction, metadata and withdrawals as they are at this moment."""
        with transaction(self._engine) as connection:
            row = connection.execute(_STANDING, {"archive": archive}).one_or_none()
        return None if row is None else Standing(row.restricted, row.metadata, tuple(row.withdrawn))

    def note(self, destination: str, archive: UUID, placed: Placed) -> None:
        """Note a record at once, outside the closing transaction."""
        with transaction(self._engine) as connection:
            remember(connection, destination, archive, placed)

    def offer(self, destination: str, archive: UUID, offer: Offer, over: Placed | None = None) -> bool:
        """Note what the access pages offer of an Archive, and that it is there, outside the closing transaction."""
        with transaction(self._engine) as connection:
            lock(connection, archive)
            if {None, destination} & set(withdrawals.standing(connection, archive)):
                return False
            row = connection.execute(_SHOWN, {"destination": destination, "archive": archive}).one_or_none()
            if row is not None and row.state == "withdrawn" and (over is None or row.details != over.details):
                return False
            offers.record(connection, destination, archive, offer)
        return True

    def collections(self, archive: UUID) -> Sequence[str]:
        """Names of the Collections an Archive belongs to."""
        with transaction(self._engine) as connection:
            return connection.execute(_COLLECTIONS, {"archive": archive}).scalars().all()

    def withdrawn_before(self, destinations: Collection[str], archive: UUID) -> bool:
        """Whether the version of its Resource before this one stands withdrawn from any of these."""
        with transaction(self._engine) as connection:
            return earlier_versions.is_withdrawn(connection, destinations, archive)


class LeasedPlacements(RegistryPlacements):
    """The same in the hands of the one that holds a lease, who notes nothing once another has taken it over."""

    def __init__(self, engine: Engine, lease: Lease) -> None:
        super().__init__(engine)
        self._lease = lease

    def confirm(self) -> None:
        """Go on for the time of a lease; raises Retryable when another has taken it over."""
        with transaction(self._engine) as connection:
            self._lease.renew(connection)

    def note(self, destination: str, archive: UUID, placed: Placed) -> None:
        """Note a record at once; raises Retryable, and notes nothing, when another has taken over the lease."""
        with transaction(self._engine) as connection:
            self._lease.renew(connection)
            remember(connection, destination, archive, placed)


def remember(connection: Connection, destination: str, archive: UUID, placed: Placed) -> None:
    """Note a record in the caller's transaction; one that was withdrawn stays withdrawn."""
    values = {"record": placed.record, "state": placed.state, "details": json.dumps(dict(placed.details))}
    connection.execute(_NOTE, {"destination": destination, "archive": archive, **values})
