"""Records on access systems as the registry knows them, and the lock under which one is made (inveniordm.md 4).

The lock is an advisory one on a connection of its own: when its worker dies the connection closes and it is free.
What is noted here is committed at once, so that a worker that takes over knows which draft was begun.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from perdura.errors import Retryable
from perdura.ports import Hold, Offer, Placed, Standing
from perdura.registry import offers, withdrawals
from perdura.registry.archives import lock

_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:key, 0))")

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

_COLLECTIONS = text("""
    SELECT collection.name FROM collection_member JOIN collection ON collection.id = collection_id
    WHERE archive_id = :archive ORDER BY collection.name
""")


class RegistryPlacements:
    """The adapter of `perdura.ports.Placements` on the registry."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def hold(self, destination: str, resource: str) -> Iterator[Hold]:
        """Be the only one that publishes this resource at this destination; raises Retryable when another is."""
        with self._engine.connect() as connection, connection.begin():
            if not connection.execute(_LOCK, {"key": f"publish {destination} {resource}"}).scalar_one():
                raise Retryable(f"Another delivery is publishing it on {destination}.", code="busy", retry_after=3)

            def confirm() -> None:
                try:
                    connection.execute(text("SELECT 1"))
                except SQLAlchemyError as error:
                    raise Retryable("The lock on the publication was lost.", code="lock-lost") from error

            yield confirm

    def known(self, destination: str, archive: UUID) -> Placed | None:
        """What was noted last."""
        with self._engine.connect() as connection:
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
        with self._engine.connect() as connection:
            rows = connection.execute(
                text("SELECT destination, record_id, state, details FROM placement WHERE archive_id = :archive"),
                {"archive": archive},
            ).all()
        return {row.destination: Placed(row.record_id, row.state, row.details) for row in rows}

    def records(self, destination: str, archive: UUID) -> Sequence[str]:
        """Every record that was ever noted, the oldest first."""
        with self._engine.connect() as connection:
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

    def take_off(self, destination: str, archive: UUID, placed: Placed) -> None:
        """Note that an Archive was withdrawn from access pages, which show it no longer from this commit on."""
        with self._engine.begin() as connection:
            lock(connection, archive)
            connection.execute(
                _OFF_THE_PAGES,
                {"destination": destination, "archive": archive, "details": json.dumps(dict(placed.details))},
            )

    def standing(self, archive: UUID) -> Standing | None:
        """Restriction, metadata and withdrawals as they are at this moment."""
        with self._engine.connect() as connection:
            row = connection.execute(_STANDING, {"archive": archive}).one_or_none()
        return None if row is None else Standing(row.restricted, row.metadata, tuple(row.withdrawn))

    def note(self, destination: str, archive: UUID, placed: Placed) -> None:
        """Note a record at once, outside the closing transaction."""
        with self._engine.begin() as connection:
            connection.execute(
                _NOTE,
                {
                    "destination": destination,
                    "archive": archive,
                    "record": placed.record,
                    "state": placed.state,
                    "details": json.dumps(dict(placed.details)),
                },
            )

    def offer(self, destination: str, archive: UUID, offer: Offer, over: Placed | None = None) -> bool:
        """Note what the access pages offer of an Archive, and that it is there, outside the closing transaction."""
        with self._engine.begin() as connection:
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
        with self._engine.connect() as connection:
            return connection.execute(_COLLECTIONS, {"archive": archive}).scalars().all()
