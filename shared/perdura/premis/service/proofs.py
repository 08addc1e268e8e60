"""What the log says of itself: checkpoints, keys, proofs, leaves (models.md 7.4, 7.7)."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Connection
from werkzeug.wrappers import Response

from perdura.premis import merkle, query, seal, tiles, whole
from perdura.premis.checkpoint import parsed
from perdura.premis.model import rfc3339
from perdura.premis.service.call import Call, Refused, Route, as_json, shown, text
from perdura.premis.xml import is_uuid

_SIZE = re.compile(r"\d{1,18}", re.ASCII)


def route(rest: str) -> Route | None:
    """The route of a path below `/log/`, None where there is nothing."""
    handler = {
        "checkpoint": checkpoint,
        "keys": keys,
        "proof/inclusion": inclusion,
        "proof/consistency": consistency,
        "leaves": leaves,
        "export.ndjson": export,
    }.get(rest.removesuffix("/"))
    return Route({"GET": handler}) if handler is not None else None


def checkpoint(call: Call) -> Response:
    """GET /log/checkpoint: the newest signed tree head, or `?size=` an older one."""
    sent = call.parameters("size")
    with call.reading() as connection:
        note = _note(connection, _number("size", sent["size"]) if "size" in sent else None)
    if note is None:
        raise Refused(404, "There is no such checkpoint.")
    return text(200, note)


def keys(call: Call) -> Response:
    """GET /log/keys: every key that ever signed, one verifier key a line, the newest first."""
    with call.reading() as connection:
        known = seal.verifiers(connection)
    lines = [{"verifier": verifier.text, "first_used": rfc3339(used)} for verifier, used in reversed(known)]
    return as_json({"origin": call.settings.log_origin, "keys": lines})


def inclusion(call: Call) -> Response:
    """GET /log/proof/inclusion?event=<id>: leaf bytes, place, proof and signed head, for every version of an event."""
    sent = call.parameters("event")
    identifier = sent.get("event", "")
    if not is_uuid(identifier):
        raise Refused(400, f"event {shown(identifier)!r}: expected the identifier of an event.")
    with call.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT l.version, l.kind, l.leaf, l.recorded_at, f.leaf_index FROM premis_log l "
            "LEFT JOIN premis_leaf f ON f.sequence = l.sequence WHERE l.event_id = %s ORDER BY l.sequence",
            (UUID(identifier),),
        ).all()
        if not rows or query.hides(connection, call.sight, (name for row in rows for name in _named(row[2]))):
            raise Refused(404, f"There is no event for identifier {shown(identifier)}.")
        note = seal.newest_note(connection)
        size = parsed(note)[0].size if note else 0
        tree = tiles.TiledTree(connection)
        versions = [_version(row, size, tree) for row in rows]
    return as_json({"event": identifier, "checkpoint": note, "versions": versions})


def consistency(call: Call) -> Response:
    """GET /log/proof/consistency?from=&to=: that the tree of `to` leaves only adds to that of `from`."""
    sent = call.parameters("from", "to")
    with call.reading() as connection:
        newest = seal.tree_size(connection)
        last = _number("to", sent["to"]) if "to" in sent else _signed_size(connection)
        first = _number("from", sent.get("from", ""))
        if not first <= last <= newest:
            raise Refused(400, f"from {first}, to {last}: expected sizes in order, of at most {newest} leaves.")
        tree = tiles.TiledTree(connection)
        proof = merkle.consistency_proof(first, last, tree.subtree)
        roots = [_encoded(tree.subtree(0, size)) for size in (first, last)]
        notes = [_note(connection, size) for size in (first, last)]
    return as_json(
        {
            "from": {"size": first, "root": roots[0], "checkpoint": notes[0]},
            "to": {"size": last, "root": roots[1], "checkpoint": notes[1]},
            "proof": [_encoded(each) for each in proof],
        }
    )


def leaves(call: Call) -> Response:
    """GET /log/leaves?from=: up to 1,000 leaves in the order of the tree, so that anyone can rebuild it.

    Of a leaf that the reader may not see only the hash is given, which is all that the tree needs.
    """
    first = _number("from", call.parameters("from").get("from", "0"))
    with call.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT f.leaf_index, l.leaf, f.hash FROM premis_leaf f "
            "JOIN premis_log l ON l.sequence = f.sequence AND l.recorded_at = f.recorded_at "
            "WHERE f.leaf_index >= %s ORDER BY f.leaf_index LIMIT 1000",
            (first,),
        ).all()
        named = [_named(leaf) if call.sight is not None else [] for _, leaf, _ in rows]
        hidden = {str(each) for each in query.unseen(connection, call.sight, itertools.chain(*named))}
    return as_json(
        [
            {"index": index, "hash": _encoded(hash_)}
            if hidden and not hidden.isdisjoint(map(str.lower, names))
            else {"index": index, "leaf": leaf.decode()}
            for (index, leaf, hash_), names in zip(rows, named, strict=True)
        ]
    )


def export(call: Call) -> Response:
    """GET /log/export.ndjson: every version of every event, then the agents, as a stream of constant memory."""
    return Response(_lines(call), content_type="application/x-ndjson")


def _lines(call: Call) -> Iterator[bytes]:
    after: int | None = 0
    while after is not None:
        with call.reading() as connection:
            lines, after = whole.versions(connection, after, call.sight)
        yield b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
    with call.reading() as connection:
        agents = whole.agent_lines(connection)
    yield b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in agents)


def _named(leaf: bytes) -> list[str]:
    """What an event names as its objects, by its leaf."""
    return [value for _, value, _ in json.loads(leaf)["objects"]]


def _version(row: Any, size: int, tree: tiles.TiledTree) -> dict[str, Any]:
    number, kind, leaf, recorded_at, index = row
    shown_version: dict[str, Any] = {
        "revision": number,
        "kind": kind,
        "recorded": rfc3339(recorded_at),
        "leaf": leaf.decode(),
        "sealed": index is not None and index < size,
    }
    if shown_version["sealed"]:
        proof = merkle.inclusion_proof(index, size, tree.subtree)
        shown_version |= {"index": index, "size": size, "proof": [_encoded(each) for each in proof]}
    return shown_version


def _signed_size(connection: Connection) -> int:
    note = seal.newest_note(connection)
    return parsed(note)[0].size if note else 0


def _note(connection: Connection, size: int | None) -> str | None:
    if size is None:
        return seal.newest_note(connection)
    found = connection.exec_driver_sql("SELECT note FROM premis_checkpoint WHERE size = %s", (size,)).scalar()
    return None if found is None else str(found)


def _number(name: str, sent: str) -> int:
    if not _SIZE.fullmatch(sent):
        raise Refused(400, f"{name} {shown(sent)!r}: expected a number of leaves.")
    return int(sent)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
