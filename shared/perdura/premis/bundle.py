"""The log as a folder that anyone can check without us: leaves with their XML, signed checkpoints, public keys.

leaves.ndjson    one line per leaf, in the order of the tree: {"leaf": …, "xml": …}
checkpoints/     one note per signed tree head, named by its size
keys.txt         verifier keys, one a line
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import Connection

from perdura.errors import Rejected
from perdura.premis.checkpoint import Verifier
from perdura.premis.verify import Report, SealedLeaf, verify_leaves

BATCH = 2_000


def write(connection: Connection, folder: Path) -> int:
    """Write the signed part of the log into a folder, made if need be; gives the number of leaves."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    size = 0
    for size, note in connection.exec_driver_sql("SELECT size, note FROM premis_checkpoint ORDER BY size"):
        (folder / "checkpoints" / f"{size:020d}").write_text(note, encoding="utf-8")
    keys = [text for (text,) in connection.exec_driver_sql("SELECT verifier FROM premis_key ORDER BY first_used_at")]
    (folder / "keys.txt").write_text("".join(f"{key}\n" for key in keys), encoding="utf-8")
    written = 0
    with (folder / "leaves.ndjson").open("w", encoding="utf-8", newline="\n") as file:
        while written < size:
            rows = connection.exec_driver_sql(
                "SELECT l.leaf, l.xml FROM premis_leaf f JOIN premis_log l ON l.sequence = f.sequence "
                "AND l.recorded_at = f.recorded_at WHERE f.leaf_index >= %s AND f.leaf_index < %s "
                "ORDER BY f.leaf_index",
                (written, min(size, written + BATCH)),
            ).all()
            if not rows:
                raise Rejected("The log has fewer leaves than its newest checkpoint says; run `perdura log verify`.")
            for leaf, xml in rows:
                file.write(json.dumps({"leaf": bytes(leaf).decode(), "xml": xml}, ensure_ascii=False) + "\n")
            written += len(rows)
    return written


def verify(folder: Path, verifiers: list[Verifier] | None = None) -> Report:
    """Verify a folder; keys given here are trusted instead of those in it. Raises Rejected when it is none."""
    try:
        notes = [path.read_text("utf-8") for path in sorted((folder / "checkpoints").iterdir())]
        known = verifiers or [Verifier.parse(line) for line in (folder / "keys.txt").read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected(f"{folder} is no exported log: {error}") from error
    report = Report()
    verify_leaves(_leaves(folder / "leaves.ndjson"), notes, known, report)
    if report.leaves > report.covered:
        report.findings.append(f"{report.leaves - report.covered} leaves at the end are covered by no checkpoint")
    if not notes:
        report.findings.append("there is no checkpoint: nothing can be proved")
    return report


def _leaves(path: Path) -> Iterator[SealedLeaf]:
    try:
        with path.open(encoding="utf-8") as file:
            for index, line in enumerate(file):
                found = json.loads(line)
                yield SealedLeaf(index, found["leaf"].encode(), found["xml"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Rejected(f"{path} cannot be read: {error}") from error
