"""Collections: named sets of Archives, without hierarchy; an Archive may be in any number of them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from perdura.database import dangling
from perdura.errors import Conflict, NotFound
from perdura.ids import new_id


def create(connection: Connection, name: str, description: str = "", *, restricted: bool = False) -> UUID:
    """Make an empty collection. Raises Conflict when the name is taken."""
    collection = new_id()
    try:
        with connection.begin_nested():
            connection.execute(
                text("INSERT INTO collection (id, name, description, restricted) VALUES (:id, :name, :about, :closed)"),
                {"id": collection, "name": name, "about": description, "closed": restricted},
            )
    except IntegrityError:
        raise _taken(name) from None
    return collection


def change(
    connection: Connection, collection: UUID, *, name: str | None, description: str | None, restricted: bool | None
) -> None:
    """Rename or describe a collection; None leaves a value as it is. Raises NotFound, Conflict."""
    try:
        with connection.begin_nested():
            done = connection.execute(
                text("""
                    UPDATE collection SET name = coalesce(:name, name), description = coalesce(:about, description),
                        restricted = coalesce(CAST(:closed AS boolean), restricted) WHERE id = :id
                """),
                {"id": collection, "name": name, "about": description, "closed": restricted},
            )
    except IntegrityError:
        raise _taken(name or "") from None
    if done.rowcount != 1:
        raise NotFound("There is no such collection.")


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a collection named {name[:80]!r} already.", code="name-taken")


def remove(connection: Connection, collection: UUID) -> None:
    """Forget a collection with its rights; its Archives stay.

    Raises NotFound, and Conflict while schedules put their Archives into it; retired ones only remember it.
    """
    known = {"id": collection}
    # Whoever is about to put something into it waits, and finds it gone.
    if connection.execute(text("SELECT 1 FROM collection WHERE id = :id FOR UPDATE"), known).one_or_none() is None:
        raise NotFound("There is no such collection.")
    filling = connection.execute(_FILLING, known).scalars().all()
    if filling:
        raise Conflict(f"Schedules put their Archives into it: {', '.join(filling)}.", code="collection-in-use")
    connection.execute(text("UPDATE schedule SET collection_id = NULL WHERE collection_id = :id"), known)
    connection.execute(text("DELETE FROM collection_member WHERE collection_id = :id"), known)
    connection.execute(text("DELETE FROM collection WHERE id = :id"), known)


_FILLING = text("SELECT name FROM schedule WHERE collection_id = :id AND state <> 'retired' ORDER BY name LIMIT 5")


def add(connection: Connection, collection: UUID, archives: Sequence[UUID]) -> int:
    """Add Archives; those that are in it already are left alone. Returns how many came new.

    Raises NotFound when the collection, or an Archive, was removed meanwhile; the transaction has failed then.
    """
    try:
        return connection.execute(_ADD, {"id": collection, "archives": list(archives)}).rowcount
    except ProgrammingError as error:
        if dangling(error):
            raise NotFound("There is no such collection any more.") from None
        raise


_ADD = text("""
    INSERT INTO collection_member (collection_id, archive_id)
    SELECT :id, archive FROM unnest(CAST(:archives AS uuid[])) AS archive ON CONFLICT DO NOTHING
""")


def take_out(connection: Connection, collection: UUID, archives: Sequence[UUID]) -> int:
    """Take Archives out of a collection. Returns how many were in it."""
    return connection.execute(
        text("DELETE FROM collection_member WHERE collection_id = :id AND archive_id = ANY(CAST(:archives AS uuid[]))"),
        {"id": collection, "archives": list(archives)},
    ).rowcount
