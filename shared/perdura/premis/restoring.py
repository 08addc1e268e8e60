"""The log from its bucket: leaves are put back in their order and held against every signed head.

A log that lacks only its newest part (a database restored from a dump) is completed the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy.engine import Connection

from perdura.errors import Broken, Rejected
from perdura.premis import leaves, log, merkle, schema, seal, tiles
from perdura.premis.checkpoint import BadCheckpoint, Checkpoint, Verifier, opened
from perdura.premis.leaves import PublishedLeaf
from perdura.premis.rows import DELETED, Row, row

CHECKPOINTS = "checkpoint/0"
KEYS = "keys/"

_PUT = """
    WITH input AS MATERIALIZED (
        SELECT * FROM json_to_recordset(%s) AS e(i bigint, seq bigint, at timestamptz, id uuid, n int, kind text,
                                                 actor text, v text, x text, l text)
    ),
    logged AS (
        INSERT INTO premis_log (sequence, recorded_at, event_id, version, kind, actor, premis_version, xml, leaf)
        SELECT seq, at, id, n, kind, actor, v, x, convert_to(l, 'UTF8') FROM input
        ON CONFLICT DO NOTHING
    ),
    taken AS (DELETE FROM premis_unsealed u USING input WHERE u.sequence = input.seq AND u.recorded_at = input.at)
    INSERT INTO premis_leaf (leaf_index, sequence, recorded_at, hash)
    SELECT i, seq, at, sha256(decode('00', 'hex') || convert_to(l, 'UTF8')) FROM input
"""

_CLEAR = """
    WITH gone AS (DELETE FROM premis_event WHERE event_id = ANY (CAST(%s AS uuid[])) RETURNING sequence),
    objects AS (DELETE FROM premis_object o USING gone WHERE o.sequence = gone.sequence)
    DELETE FROM premis_agent_link a USING gone WHERE a.sequence = gone.sequence
"""

_KINDS = """
    INSERT INTO premis_kind (id, type, outcomes)
    SELECT n.id, n.t, n.u FROM json_to_recordset(%s) AS n(id bigint, t text, u text[]) ON CONFLICT DO NOTHING
"""

_SHOW = """
    WITH input AS MATERIALIZED (
        SELECT e.*, f.sequence AS first, f.recorded_at AS since
        FROM json_to_recordset(%s) AS e(o int, id uuid, i text, k bigint, at timestamptz, v text, x text, b text,
                                        seq bigint, changed timestamptz, n int)
        CROSS JOIN LATERAL (SELECT sequence, recorded_at FROM premis_log l WHERE l.event_id = e.id
                            ORDER BY sequence LIMIT 1) f
    ),
    head AS (
        INSERT INTO premis_event (event_id, identifier, sequence, log_sequence, kind_id, at, recorded_at, changed_at,
                                  version, premis_version, objects, xml)
        SELECT id, i, first, seq, k, at, since, changed, n, v, b, x FROM input
    ),
    linked AS (
        INSERT INTO premis_object (object, bare, kind_id, at, identifier, event_id, sequence)
        SELECT n.ob, n.ba, k, at, i, id, first
        FROM json_to_recordset(%s) AS n(o int, ob text, ba text) JOIN input USING (o) WHERE n.ob IS NOT NULL
    )
    INSERT INTO premis_agent_link (agent, kind_id, at, identifier, event_id, sequence)
    SELECT n.ag, k, at, i, id, first
    FROM json_to_recordset(%s) AS n(o int, ag text) JOIN input USING (o) WHERE n.ag IS NOT NULL
"""

_RECOUNT = """
    WITH counts AS (DELETE FROM premis_count), changes AS (DELETE FROM premis_count_delta)
    INSERT INTO premis_count_delta (day, kind_id, n)
    SELECT (at AT TIME ZONE 'UTC')::date, kind_id, count(*) FROM premis_event GROUP BY 1, 2
"""

_COLLIDING = """
    SELECT count(*) FROM premis_leaf f JOIN premis_log l ON l.sequence = f.sequence
    WHERE l.recorded_at <> f.recorded_at AND f.leaf_index >= %s
"""


@dataclass(slots=True)
class Restored:
    """What came back: leaves that were missing, signed heads they were held against, leaves that no head covers yet.

    `found_keys` are verifier keys that only the bucket itself vouches for.
    """

    leaves: int = 0
    checkpoints: int = 0
    unproved: int = 0
    found_keys: list[str] = field(default_factory=list)


def restore(connection: Connection, store: Any, bucket: str, trusted: Sequence[Verifier] = ()) -> Restored:
    """Put back what the bucket has of the log and the database lacks, in the caller's transaction.

    Raises Broken where leaves and signed heads disagree, or events were recorded here before what is missing was put
    back: the transaction must then be rolled back. `trusted` are keys known from elsewhere.
    """
    schema.create_partitions(connection)
    if not connection.exec_driver_sql("SELECT pg_try_advisory_xact_lock(%s)", (seal.LOCK,)).scalar_one():
        raise Broken("The log is being sealed: stop the functions before the log is put back.")
    done = Restored()
    known = _keys(store, bucket, trusted, done)
    heads = _heads(store, bucket, known)
    first = size = seal.tree_size(connection)
    coming = leaves.published(store, bucket, first)
    while batch := list(islice(coming, leaves.TOGETHER)):
        _put(connection, batch)
        seal.grow(connection, size, [merkle.leaf_hash(each.leaf) for each in batch])
        size += len(batch)
    done.leaves = size - first
    if done.leaves and connection.exec_driver_sql(_COLLIDING, (first,)).scalar_one():
        raise Broken("Events were recorded before the log was put back: begin anew with the database as restored.")
    _hold_against(connection, heads, known, size, done)
    if done.leaves:
        connection.exec_driver_sql(_RECOUNT)
        connection.exec_driver_sql(
            "SELECT setval('premis_sequence', greatest((SELECT max(sequence) FROM premis_log), "
            "(SELECT last_value FROM premis_sequence)))"
        )
    return done


def _keys(store: Any, bucket: str, trusted: Sequence[Verifier], done: Restored) -> list[Verifier]:
    known = {each.text: each for each in trusted}
    for info in store.list(bucket, KEYS):
        verifier = Verifier.parse(store.read(info.ref).decode("ascii", "replace"))
        if verifier.text not in known:
            known[verifier.text] = verifier
            done.found_keys.append(verifier.text)
    return list(known.values())


def _heads(store: Any, bucket: str, known: Sequence[Verifier]) -> list[tuple[Checkpoint, str, datetime]]:
    heads = []
    for info in store.list(bucket, CHECKPOINTS):
        note = store.read(info.ref).decode("utf-8", "replace")
        try:
            heads.append((opened(note, known), note, info.modified or datetime.now(UTC)))
        except BadCheckpoint as error:
            raise Broken(
                f"{bucket}/{info.ref.key}: {error.message}; give the key that signed it with --key."
            ) from error
    return heads


def _put(connection: Connection, batch: Sequence[PublishedLeaf]) -> None:
    rows, newest = [], {}
    for each in batch:
        said = json.loads(each.leaf)
        if hashlib.sha256(each.xml.encode()).hexdigest() != said["xml"]:
            raise Broken(f"Leaf {each.index} in the log's bucket: its XML was changed.")
        rows.append(
            {
                "i": each.index, "seq": each.sequence, "at": said["recorded"], "id": said["event"],
                "n": said["version"], "kind": said["kind"], "actor": said["actor"], "v": said["premis"],
                "x": each.xml, "l": each.leaf.decode(),
            }
        )  # fmt: skip
        newest[said["event"]] = (each, said)
    connection.exec_driver_sql(_PUT, (_json(rows),))
    connection.exec_driver_sql(_CLEAR, ("{" + ",".join(newest) + "}",))
    _show(connection, [(each, said) for each, said in newest.values() if said["kind"] != DELETED])


def _show(connection: Connection, shown: Iterable[tuple[PublishedLeaf, dict[str, Any]]]) -> None:
    """Make what pages are read from: the newest version of each event, with its links."""
    heads: list[dict[str, Any]] = []
    links: list[dict[str, Any]] = []
    kinds: dict[int, Row] = {}
    for number, (each, said) in enumerate(shown):
        made = _row(each, said)
        heads.append(
            {
                "o": number, "id": str(made.id), "i": made.identifier, "k": made.kind[0], "at": made.at.isoformat(),
                "v": made.premis, "x": made.xml, "b": made.listed, "seq": each.sequence, "changed": said["recorded"],
                "n": said["version"],
            }
        )  # fmt: skip
        links += [{"o": number, "ob": key, "ba": bare} for key, bare in made.keys.items()]
        links += [{"o": number, "ag": key} for key in made.agents]
        kinds[made.kind[0]] = made
    named = [{"id": made.kind[0], "t": made.kind[1], "u": made.kind[2]} for made in kinds.values()]
    connection.exec_driver_sql(_KINDS, (_json(named),))
    connection.exec_driver_sql(_SHOW, (_json(heads), _json(links), _json(links)))


def _row(each: PublishedLeaf, said: dict[str, Any]) -> Row:
    try:
        at = datetime.fromisoformat(said["at"])
        event = log.read_at(each.xml, said["premis"], at)
        event = replace(event, id=type(event.id)(said["event"]), identifier=each.identifier or event.identifier, at=at)
        return row(
            event,
            sent=each.xml,
            recorded_at=datetime.fromisoformat(said["recorded"]),
            actor=said["actor"],
            version=said["version"],
        )
    except (Rejected, ValueError) as error:
        raise Broken(f"Leaf {each.index} in the log's bucket cannot be read as an event.") from error


def _hold_against(
    connection: Connection,
    heads: Sequence[tuple[Checkpoint, str, datetime]],
    known: Sequence[Verifier],
    size: int,
    done: Restored,
) -> None:
    tree = tiles.TiledTree(connection)
    covered = 0
    for head, note, signed_at in heads:
        if head.size > size:
            raise Broken(
                f"The signed head of {head.size} leaves covers more than the {size} in the bucket: leaves are lost."
            )
        if tree.subtree(0, head.size) != head.root:
            raise Broken(f"The leaves in the bucket are not those that the signed head of {head.size} covers.")
        seal.note_checkpoint(connection, head.size, head.root, note, signed_at)
        covered = max(covered, head.size)
    first_used = min((at for _, _, at in heads), default=datetime.now(UTC))
    for verifier in known if heads else ():
        seal.note_key(connection, verifier, first_used)
    done.checkpoints, done.unproved = len(heads), size - covered


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
