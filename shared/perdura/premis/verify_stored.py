"""Checking the log where it is kept: its leaves against the seals, and all that is derived from it against the log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.engine import Connection

from perdura.errors import Rejected
from perdura.premis import log, seal, tiles
from perdura.premis.checkpoint import Checkpoint, Verifier
from perdura.premis.model import Event
from perdura.premis.rows import bare_ark_name, kind_of, object_key, row
from perdura.premis.verify import Report, SealedLeaf, title, verify_leaves
from perdura.premis.xml import canonical, event_xml, parse

BATCH = 2_000


def verify_database(connection: Connection, *, notes: Sequence[str] = (), verifiers: Sequence[Verifier] = ()) -> Report:
    """Verify the log in the database; `notes` and `verifiers` from elsewhere count beside those it holds.

    Only those held elsewhere protect against one who rewrites database and checkpoints together.
    """
    report = Report()
    kept = []
    for size, root, note in connection.exec_driver_sql("SELECT size, root, note FROM premis_checkpoint ORDER BY size"):
        kept.append(note)
        if not note.startswith(Checkpoint(note.partition("\n")[0], size, bytes(root)).text):
            report.findings.append(f"the checkpoint of {size} leaves in the database is not what was signed")
    stored = [Verifier.parse(text) for (text,) in connection.exec_driver_sql("SELECT verifier FROM premis_key")]
    for note in notes:
        if note not in kept:
            report.findings.append(f"a checkpoint that was published is not in the database: {title(note)}")
    trusted = list(verifiers) or stored
    verify_leaves(_leaves(connection), list(dict.fromkeys([*notes, *kept])), trusted, report)
    _verify_unsealed(connection, report)
    _verify_heads(connection, report)
    _verify_counts(connection, report)
    _verify_tiles(connection, report)
    _verify_covered(connection, report)
    return report


def _leaves(connection: Connection) -> Iterator[SealedLeaf]:
    """Leaves in the order of the tree, with their rows of the log; a row that is gone is an empty leaf."""
    first = 0
    while True:
        rows = connection.exec_driver_sql(
            "SELECT f.leaf_index, f.hash, f.recorded_at, l.leaf, l.xml, l.event_id, l.version, l.kind, l.actor, "
            "l.premis_version, l.recorded_at FROM premis_leaf f LEFT JOIN premis_log l ON l.sequence = f.sequence "
            "WHERE f.leaf_index >= %s ORDER BY f.leaf_index, l.recorded_at LIMIT %s",
            (first, BATCH),
        ).all()
        for index, hash_, _, leaf, xml, event_id, version, kind, actor, premis_version, recorded_at in rows:
            if leaf is None:
                yield SealedLeaf(index, b"", "", bytes(hash_))
                continue
            columns = {
                "event": str(event_id),
                "version": version,
                "kind": kind,
                "actor": actor,
                "premis": premis_version,
                "recorded": recorded_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
            yield SealedLeaf(index, bytes(leaf), xml, bytes(hash_), columns)
        if len(rows) < BATCH:
            return
        first = rows[-1][0] + 1


def _verify_unsealed(connection: Connection, report: Report) -> None:
    """Rows without a leaf must be waiting for one; rows with one must have it at their own time."""
    report.waiting = int(connection.exec_driver_sql("SELECT count(*) FROM premis_unsealed").scalar_one())
    lost = connection.exec_driver_sql(
        "SELECT l.event_id, l.version FROM premis_log l LEFT JOIN premis_leaf f ON f.sequence = l.sequence "
        "LEFT JOIN premis_unsealed u ON u.sequence = l.sequence AND u.recorded_at = l.recorded_at "
        "WHERE f.leaf_index IS NULL AND u.sequence IS NULL LIMIT 100"
    )
    report.findings += [
        f"event {event} version {version}: it has no leaf and waits for none" for event, version in lost
    ]
    gone = connection.exec_driver_sql(
        "SELECT u.sequence FROM premis_unsealed u LEFT JOIN premis_log l "
        "ON l.sequence = u.sequence AND l.recorded_at = u.recorded_at WHERE l.sequence IS NULL LIMIT 100"
    )
    report.findings += [f"row {sequence} of the log was to be sealed and is gone" for (sequence,) in gone]
    moved = connection.exec_driver_sql(
        "SELECT l.event_id, l.version FROM premis_leaf f JOIN premis_log l ON l.sequence = f.sequence "
        "WHERE l.recorded_at <> f.recorded_at LIMIT 100"
    )
    report.findings += [f"event {event} version {version}: its leaf is of another time" for event, version in moved]


def _verify_counts(connection: Connection, report: Report) -> None:
    wrong = connection.exec_driver_sql(
        "SELECT coalesce(c.day, e.day), coalesce(c.n, 0), coalesce(e.n, 0) FROM (SELECT day, kind_id, sum(n) AS n FROM "
        "(SELECT day, kind_id, n FROM premis_count UNION ALL SELECT day, kind_id, n FROM premis_count_delta) a "
        "GROUP BY day, kind_id) c FULL JOIN (SELECT (at AT TIME ZONE 'UTC')::date AS day, kind_id, count(*) AS n "
        "FROM premis_event GROUP BY 1, 2) e ON e.day = c.day AND e.kind_id = c.kind_id "
        "WHERE coalesce(c.n, 0) <> coalesce(e.n, 0) LIMIT 100"
    )
    report.findings += [f"the counts say {kept} events of {day}, there are {real}" for day, kept, real in wrong]


def _verify_tiles(connection: Connection, report: Report) -> None:
    """Tiles must hold the hashes of the leaves, and those above the roots of those below."""
    wrong = connection.exec_driver_sql(
        "SELECT coalesce(t.tile_index, l.i) FROM (SELECT * FROM premis_tile WHERE level = 0) t FULL JOIN "
        "(SELECT leaf_index / 256 AS i, string_agg(hash, ''::bytea ORDER BY leaf_index) AS h FROM premis_leaf "
        "GROUP BY 1) l ON l.i = t.tile_index WHERE t.hashes IS DISTINCT FROM l.h LIMIT 100"
    )
    report.findings += [f"tile 0/{index} differs from the leaves" for (index,) in wrong]
    above = connection.exec_driver_sql("SELECT level, tile_index FROM premis_tile WHERE level > 0 ORDER BY 1, 2").all()
    size, level = seal.tree_size(connection), 1
    there = {(level, index) for level, index in above}
    while full := size >> level * tiles.HEIGHT:
        lacking = [index for index in range(-(-full // tiles.WIDTH)) if (level, index) not in there]
        report.findings += [f"tile {level}/{index} is missing" for index in lacking[:100]]
        level += 1
    for level, index in above:
        tree = tiles.TiledTree(connection)
        lower = [(level - 1, index * tiles.WIDTH + at) for at in range(tiles.WIDTH)]
        loaded = tree.load([*lower, (level, index)])
        full_tiles = [loaded[each] for each in lower if len(loaded.get(each, b"")) == tiles.WIDTH * tiles.HASH]
        if loaded[level, index] != b"".join(map(tiles.root, full_tiles)):
            report.findings.append(f"tile {level}/{index} differs from those below it")


def _verify_covered(connection: Connection, report: Report) -> None:
    """Where something signs, every leaf is under a checkpoint, unless the log is being sealed at the moment."""
    if not connection.exec_driver_sql("SELECT EXISTS (SELECT FROM premis_key)").scalar_one():
        return
    with connection.begin_nested() as held:
        if not connection.exec_driver_sql("SELECT pg_try_advisory_xact_lock(%s)", (seal.LOCK,)).scalar_one():
            return
        signed = connection.exec_driver_sql("SELECT coalesce(max(size), 0) FROM premis_checkpoint").scalar_one()
        covered, size = max(signed, report.covered), seal.tree_size(connection)
        held.rollback()
    if covered < size:
        report.findings.append(
            f"the newest checkpoint covers {covered} of {size} leaves, and the log is not being sealed: a sealing "
            "broke off, or a checkpoint was removed"
        )


def _verify_heads(connection: Connection, report: Report) -> None:
    """What pages show must be the newest version in the log, for every event, with its links."""
    missing = connection.exec_driver_sql(
        "SELECT l.event_id FROM (SELECT DISTINCT ON (event_id) event_id, kind FROM premis_log "
        "ORDER BY event_id, sequence DESC) l LEFT JOIN premis_event e ON e.event_id = l.event_id "
        "WHERE (l.kind = 'deleted') <> (e.event_id IS NULL) LIMIT 100"
    )
    report.findings += [f"event {event}: it is in the log and not shown, or shown and deleted" for (event,) in missing]
    links = {"premis_object": 0, "premis_agent_link": 0}
    after = "00000000-0000-0000-0000-000000000000"
    while True:
        rows = connection.exec_driver_sql(_HEADS, (after, BATCH)).all()
        wanted: list[tuple[str, str, str | None, Any]] = []
        for each in rows:
            if (problem := _head_problem(each)) is not None:
                report.findings.append(f"event {each[0]}: {problem}")
                continue
            event = log.read(each[6], each[3])
            wanted += [("premis_object", object_key(o.value), bare_ark_name(o.value), each) for o in event.objects]
            wanted += [("premis_agent_link", object_key(a.value), None, each) for a in event.agents]
        _verify_links(connection, list({(t, k, e[11]): (t, k, b, e) for t, k, b, e in wanted}.values()), links, report)
        if len(rows) < BATCH:
            break
        after = str(rows[-1][0])
    for table, expected in links.items():
        counted = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()  # noqa: S608 - two constants
        if counted != expected and not report.findings:
            report.findings.append(f"{table} has {counted} links where the log says {expected}")


_HEADS = (
    "SELECT e.event_id, e.identifier, e.version, e.premis_version, e.at, e.recorded_at, e.xml, e.objects, e.kind_id, "
    "k.type, k.outcomes, e.sequence, l.xml, l.version, l.event_id, e.changed_at, l.recorded_at, f.recorded_at, "
    "f.event_id, l.premis_version, l.leaf FROM premis_event e LEFT JOIN premis_log l ON l.sequence = e.log_sequence "
    "LEFT JOIN premis_log f ON f.sequence = e.sequence AND f.kind = 'created' "
    "LEFT JOIN premis_kind k ON k.id = e.kind_id "
    "WHERE e.event_id > CAST(%s AS uuid) ORDER BY e.event_id LIMIT %s"
)


def _head_problem(found: Sequence[Any]) -> str | None:
    (event_id, identifier, version, premis_version, at, recorded, xml, objects, kind_id, type_, outcomes, _, logged,
     log_version, log_event, changed, log_recorded, first_recorded, first_event, log_premis, leaf) = found  # fmt: skip
    if logged is None or (log_event, log_version, log_premis) != (event_id, version, premis_version):
        return "the version that is shown is not the newest in the log"
    if (recorded, changed, event_id) != (first_recorded, log_recorded, first_event):
        return "when it was recorded or changed differs from the log"
    try:
        happened = datetime.fromisoformat(json.loads(leaf)["at"])
        shown, original = (log.read_at(each, premis_version, happened) for each in (xml, logged))
    except (Rejected, ValueError, KeyError, TypeError):
        return "what is shown cannot be read"
    if shown.id != event_id or not _same(shown, replace(original, identifier=identifier)):
        return "what is shown differs from the log"
    expected = row(shown, sent=None, recorded_at=datetime.now(UTC), actor="")
    if at != happened or at != shown.at:
        return "its date in the index differs from the log"
    if (
        (kind_id, type_, outcomes) != kind_of(shown)
        or objects != expected.listed
        or identifier != shown.identifier_value
    ):
        return "its type, outcome, objects or identifier in the index differ from the log"
    return None


def _same(shown: Event, original: Event) -> bool:
    """Whether both say the same, whatever the identifier was before it was given one, however prefixes are declared."""
    one, other = (event_xml(replace(each, identifier_type="", identifier_attributes=())) for each in (shown, original))
    return one == other or canonical(parse(one.encode())) == canonical(parse(other.encode()))


def _verify_links(
    connection: Connection, wanted: list[tuple[str, str, str | None, Any]], links: dict[str, int], report: Report
) -> None:
    for table in links:
        mine = [(key, bare, each) for name, key, bare, each in wanted if name == table]
        links[table] += len(mine)
        column, also = ("object", " OR t.bare IS DISTINCT FROM w.bare") if table == "premis_object" else ("agent", "")
        found = connection.exec_driver_sql(
            f"SELECT w.key, w.event_id FROM unnest(CAST(%s AS text[]), CAST(%s AS text[]), CAST(%s AS bigint[]), "  # noqa: S608
            f"CAST(%s AS uuid[])) AS w(key, bare, sequence, event_id) "
            f"JOIN premis_event e ON e.event_id = w.event_id LEFT JOIN {table} t "
            f"ON t.{column} = w.key AND t.sequence = w.sequence WHERE t.sequence IS NULL OR t.event_id <> e.event_id "
            f"OR t.at <> e.at OR t.kind_id <> e.kind_id OR t.identifier <> e.identifier{also}",
            (
                [key for key, _, _ in mine],
                [bare for _, bare, _ in mine],
                [each[11] for _, _, each in mine],
                [each[0] for _, _, each in mine],
            ),
        )
        report.findings += [f"event {event}: its link to {key[:200]} is missing or changed" for key, event in found]
