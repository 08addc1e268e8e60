"""Sealing: what was recorded becomes leaves of the tree, and the signed head goes to the locked bucket (models.md 7.6).

Order of a tick: leaves and tiles are committed; the head is proved consistent with the last signed one; it is signed,
stored, and only then noted in the database. A crash anywhere leaves a state that the next tick carries on from: leaves
are never given another place, and signing the same head twice gives the same bytes. No insert of an event waits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy.engine import Connection, Engine

from perdura.errors import Broken, NotStored
from perdura.ids import derived_id
from perdura.premis import leaves, log, merkle, schema, tiles
from perdura.premis.checkpoint import BadCheckpoint, Checkpoint, Signer, Verifier, opened, signers
from perdura.premis.rows import sealing
from perdura.settings import Settings

_log = logging.getLogger(__name__)

BATCH = 50_000
"""Leaves that one transaction adds."""

AT_LEAST_EVERY = timedelta(days=1)

LOCK = 5_021_996_362
"""Key of the advisory lock that whoever adds leaves to the tree holds."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a tick did: leaves added, and the size of the newest signed tree."""

    added: int
    size: int


class Bucket(Protocol):
    """What sealing asks of the object store (`perdura.storage.store.Store` is one)."""

    def head(self, bucket: str, key: str) -> Any:
        """What is stored there, with `ref`; raises NotStored."""
        ...

    def read(self, ref: Any) -> bytes:
        """The bytes of an object."""
        ...

    def put(self, bucket: str, key: str, data: bytes, *, content_type: str = ...) -> Any:
        """Store an object."""
        ...

    def list(self, bucket: str, prefix: str, start_after: str = ...) -> Iterator[Any]:
        """Objects below a prefix, by key."""
        ...


_ADD_LEAVES = """
    WITH found AS MATERIALIZED (
        SELECT u.sequence, u.recorded_at, sha256(decode('00', 'hex') || l.leaf) AS hash,
               row_number() OVER (ORDER BY u.recorded_at, u.sequence) AS n
        FROM (SELECT sequence, recorded_at FROM premis_unsealed ORDER BY recorded_at, sequence LIMIT %s) u
        JOIN premis_log l ON l.sequence = u.sequence AND l.recorded_at = u.recorded_at
    ),
    added AS (
        INSERT INTO premis_leaf (leaf_index, sequence, recorded_at, hash)
        SELECT CAST(%s AS bigint) + n - 1, sequence, recorded_at, hash FROM found ORDER BY n
    ),
    taken AS (DELETE FROM premis_unsealed u USING found WHERE u.sequence = found.sequence)
    SELECT count(*), string_agg(hash, ''::bytea ORDER BY n) FROM found
"""


def tick(engine: Engine, store: Bucket, settings: Settings) -> Sealed:
    """Seal what was recorded since the last tick; does nothing when another sealer is at work.

    Raises Broken when the stored log is not what was signed before: nothing is then signed.
    """
    with engine.begin() as connection:
        schema.create_partitions(connection)
        connection.exec_driver_sql("SELECT premis_fold_counts(%s)", (200_000,))
    keys = (
        signers(settings.log_origin, settings.log_signing_keys.get_secret_value()) if settings.log_signing_keys else []
    )
    added = 0
    # The lock has a transaction of its own: a pooler that works per transaction would lose one of the session.
    with engine.begin() as holder, engine.connect() as connection:
        if not holder.exec_driver_sql("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,)).scalar_one():
            return Sealed(0, 0)
        if keys:
            _recover(connection, store, settings, keys)
        _announce(connection, settings)
        while (batch := _add_leaves(connection)) > 0:
            added += batch
        size = _sign(connection, store, settings, keys) if keys else 0
    return Sealed(added, size)


def tree_size(connection: Connection) -> int:
    """How many leaves there are."""
    return int(connection.exec_driver_sql("SELECT coalesce(max(leaf_index) + 1, 0) FROM premis_leaf").scalar_one())


def newest_note(connection: Connection) -> str | None:
    """The newest signed checkpoint, if there is one."""
    found = connection.exec_driver_sql("SELECT note FROM premis_checkpoint ORDER BY size DESC LIMIT 1").scalar()
    return None if found is None else str(found)


def verifiers(connection: Connection) -> list[tuple[Verifier, datetime]]:
    """Every key that ever signed, with the time of its first use; the newest last."""
    found = connection.exec_driver_sql(
        "SELECT verifier, first_used_at FROM premis_key ORDER BY first_used_at, verifier"
    )
    return [(Verifier.parse(text), used) for text, used in found]


def key_of(size: int) -> str:
    """Where the checkpoint of a size is stored in the log's bucket."""
    return f"checkpoint/{size:020d}"


def _announce(connection: Connection, settings: Settings) -> None:
    """Record the sealing itself, naming the checkpoint before it; only when there is something to seal."""
    waiting, last = connection.exec_driver_sql(
        "SELECT EXISTS (SELECT 1 FROM premis_unsealed), (SELECT max(signed_at) FROM premis_checkpoint)"
    ).one()
    now = datetime.now(UTC)
    if waiting or (last is not None and now - last > AT_LEAST_EVERY):
        previous = newest_note(connection)
        size = tree_size(connection)
        event_id = derived_id("sealing", settings.log_origin, size)
        if log.find(connection, event_id) is None:
            event = sealing(event_id, previous.encode() if previous else None, size, now, settings.organisation)
            log.append(connection, [event], actor="perdura/seal")
    connection.commit()


def _add_leaves(connection: Connection) -> int:
    """Turn rows of the log that have no leaf into leaves, in the order they were recorded; one transaction.

    The database hashes them: what leaves it is 32 bytes a leaf.
    """
    size = tree_size(connection)
    added, joined = connection.exec_driver_sql(_ADD_LEAVES, (BATCH, size)).one()
    if not added:
        connection.rollback()
        return 0
    grow(connection, size, [joined[at : at + tiles.HASH] for at in range(0, len(joined), tiles.HASH)])
    connection.commit()
    return int(added)


def grow(connection: Connection, size: int, hashes: Sequence[bytes]) -> None:
    """Add leaf hashes to the stored tiles of a tree of `size`."""
    changed = tiles.extended(tiles.TiledTree(connection).load(tiles.frontier(size)), size, hashes)
    connection.exec_driver_sql(
        "INSERT INTO premis_tile (level, tile_index, hashes) SELECT l, i, decode(h, 'hex') "
        "FROM unnest(CAST(%s AS int[]), CAST(%s AS bigint[]), CAST(%s AS text[])) AS w(l, i, h) "
        "ON CONFLICT (level, tile_index) DO UPDATE SET hashes = excluded.hashes",
        (
            [level for level, _ in changed],
            [index for _, index in changed],
            "{" + ",".join(hashes.hex() for hashes in changed.values()) + "}",
        ),
    )


def _sign(connection: Connection, store: Bucket, settings: Settings, keys: Sequence[Signer]) -> int:
    """Sign the tree of all leaves unless that is done, publish it, note it; gives its size."""
    size = tree_size(connection)
    last = connection.exec_driver_sql("SELECT size, root FROM premis_checkpoint ORDER BY size DESC LIMIT 1").first()
    last_size, last_root = (last.size, bytes(last.root)) if last else (0, merkle.EMPTY)
    if size == last_size:
        connection.rollback()
        return size
    tree = tiles.TiledTree(connection)
    root = tree.subtree(0, size)
    proof = merkle.consistency_proof(last_size, size, tree.subtree) if size > last_size else []
    if not merkle.consistent(last_size, last_root, size, root, proof):
        raise Broken(
            f"The log of {size} leaves does not continue the checkpoint of {last_size}: something that was sealed "
            "was changed. Nothing was signed; run `perdura log verify`."
        )
    note = Checkpoint(settings.log_origin, size, root).signed(keys)
    for begin, end in leaves.missing(store, settings.bucket_log, last_size, size):
        _put_once(store, settings.bucket_log, *leaves.encoded(connection, begin, end))
    _publish_tiles(connection, store, settings.bucket_log, last_size, size)
    for key in keys:
        _put_once(store, settings.bucket_log, f"keys/{key.verifier.id.hex()}", f"{key.verifier.text}\n".encode())
    _put_once(store, settings.bucket_log, key_of(size), note.encode())
    store.put(settings.bucket_log, "checkpoint/latest", note.encode(), content_type="text/plain; charset=utf-8")
    _note(connection, size, root, note, keys)
    _log.info("sealed the log", extra={"size": size})
    return size


def _note(connection: Connection, size: int, root: bytes, note: str, keys: Sequence[Signer]) -> None:
    now = datetime.now(UTC)
    for key in keys:
        note_key(connection, key.verifier, now)
    note_checkpoint(connection, size, root, note, now)
    connection.commit()


def note_key(connection: Connection, verifier: Verifier, first_used: datetime) -> None:
    """Note a key that signs, once."""
    connection.exec_driver_sql(
        "INSERT INTO premis_key (verifier, first_used_at) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (verifier.text, first_used),
    )


def note_checkpoint(connection: Connection, size: int, root: bytes, note: str, signed_at: datetime) -> None:
    """Note a signed checkpoint, once."""
    connection.exec_driver_sql(
        "INSERT INTO premis_checkpoint (size, root, note, signed_at) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (size, root, note, signed_at),
    )


def _publish_tiles(connection: Connection, store: Bucket, bucket: str, old: int, size: int) -> None:
    """Store the tiles that became full since the last checkpoint, and the partial ones of this size."""
    level = 0
    while size >> level * tiles.HEIGHT:
        before, now = old >> level * tiles.HEIGHT, size >> level * tiles.HEIGHT
        first, last = before // tiles.WIDTH, (now - 1) // tiles.WIDTH
        for begin in range(first, last + 1, 256):
            found = connection.exec_driver_sql(
                "SELECT tile_index, hashes FROM premis_tile WHERE level = %s AND tile_index BETWEEN %s AND %s",
                (level, begin, min(last, begin + 255)),
            ).all()
            for index, hashes in found:
                width = min(tiles.WIDTH, now - index * tiles.WIDTH)
                _put_once(store, bucket, tiles.path(level, index, width), hashes[: width * tiles.HASH])
        level += 1


def _put_once(store: Bucket, bucket: str, key: str, data: bytes) -> None:
    """Store an object that may never change; one already there must be the same."""
    try:
        there = store.head(bucket, key)
    except NotStored:
        store.put(bucket, key, data)
        return
    if store.read(there.ref) != data:
        raise Broken(f"{bucket}/{key} is stored already, with another content; nothing was signed.")


def _recover(connection: Connection, store: Bucket, settings: Settings, keys: Sequence[Signer]) -> None:
    """Note checkpoints that were stored before a crash kept them from being noted."""
    last = connection.exec_driver_sql("SELECT coalesce(max(size), 0) FROM premis_checkpoint").scalar_one()
    connection.rollback()
    known = [key.verifier for key in keys]
    for info in store.list(settings.bucket_log, "checkpoint/0", start_after=key_of(last)):
        note = store.read(info.ref).decode("utf-8", "replace")
        try:
            checkpoint = opened(note, known)
        except BadCheckpoint as error:
            raise Broken(f"{settings.bucket_log}/{info.ref.key}: {error.message}; nothing was signed.") from error
        tree = tiles.TiledTree(connection)
        if checkpoint.size > tree_size(connection) or tree.subtree(0, checkpoint.size) != checkpoint.root:
            raise Broken(
                f"The checkpoint of {checkpoint.size} leaves in the store is not of this log: leaves were lost or "
                "changed. Nothing was signed; run `perdura log verify`."
            )
        _note(connection, checkpoint.size, checkpoint.root, note, keys)
