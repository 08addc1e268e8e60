"""Checking the log against its seals: what was changed, removed, reordered or back-dated is found and named. No I/O.

It works on leaves and checkpoints from anywhere; `verify_stored` reads them where they are kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from perdura.premis import merkle
from perdura.premis.checkpoint import BadCheckpoint, Checkpoint, Verifier, opened

LATE = timedelta(days=1)
"""How long before a sealing an event may say it was recorded that is in the tree after it: a transaction takes time."""

_PREVIOUS = re.compile(r"SHA-256 of the previous checkpoint: ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class SealedLeaf:
    """A leaf as it was found: its place, its bytes, the XML whose digest it holds, and the columns beside it."""

    index: int
    leaf: bytes
    xml: str
    hash: bytes | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What a verification found, and what it looked at: of the leaves, `covered` are under a signed checkpoint."""

    leaves: int = 0
    covered: int = 0
    checkpoints: int = 0
    waiting: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def sentence(self) -> str:
        """What was proved, and what was not."""
        if not self.sound:
            return f"NOT SOUND: {len(self.findings)} finding(s) among {self.leaves} sealed versions of events."
        proved = (
            f"Sound: {self.covered} sealed versions of events are exactly those that {self.checkpoints} signed "
            "checkpoint(s) cover, in the same order, unchanged."
        )
        if self.leaves > self.covered:
            proved += f" {self.leaves - self.covered} more are in the tree, and no checkpoint covers them yet."
        return proved + (f" {self.waiting} recorded event(s) are not sealed yet." if self.waiting else "")


def verify_leaves(
    leaves: Iterable[SealedLeaf], notes: Sequence[str], verifiers: Sequence[Verifier], report: Report
) -> None:
    """Rebuild the tree from its leaves and hold it against every signed checkpoint; findings go into the report."""
    heads = _heads(notes, verifiers, report)
    report.covered = max(heads, default=0)
    digests = {hashlib.sha256(note.encode()).hexdigest() for note in notes}
    tree, sealed_at = merkle.Frontier(), None
    for found in leaves:
        if found.index != tree.size:
            report.findings.append(f"leaf {tree.size} is missing: the next one is {found.index}")
            break
        sealed_at = _check_leaf(found, digests, sealed_at, report)
        tree.add(merkle.leaf_hash(found.leaf))
        if (head := heads.pop(tree.size, None)) is not None and head.root != tree.root():
            report.findings.append(
                f"the checkpoint of {head.size} leaves has another root: a leaf up to {head.size - 1} was changed, "
                "removed or reordered"
            )
    report.leaves = tree.size
    report.covered = min(report.covered, tree.size)
    report.findings += [f"the checkpoint of {size} leaves covers leaves that are gone" for size in heads if size]


def _heads(notes: Sequence[str], verifiers: Sequence[Verifier], report: Report) -> dict[int, Checkpoint]:
    heads: dict[int, Checkpoint] = {}
    for note in notes:
        try:
            head = opened(note, verifiers)
        except BadCheckpoint as error:
            report.findings.append(f"checkpoint {title(note)}: {error.message}")
            continue
        if head.size in heads and heads[head.size].root != head.root:
            report.findings.append(
                f"two checkpoints of {head.size} leaves have different roots: the log has two histories"
            )
        heads[head.size] = head
        report.checkpoints += 1
    return heads


def title(note: str) -> str:
    """What a checkpoint is called: its log and its size."""
    return " ".join(note.split("\n")[:2])[:200]


def _check_leaf(found: SealedLeaf, digests: set[str], sealed_at: datetime | None, report: Report) -> datetime | None:
    """Check one leaf; `sealed_at` is the time of the last sealing before it, and what is given back after it."""
    try:
        said = json.loads(found.leaf)
        name = f"event {said['event']} version {said['version']} (leaf {found.index})"
        recorded = datetime.fromisoformat(said["recorded"])
    except (ValueError, KeyError, TypeError):
        report.findings.append(f"leaf {found.index}: its bytes are no leaf")
        return sealed_at
    if found.hash is not None and merkle.leaf_hash(found.leaf) != found.hash:
        report.findings.append(f"{name}: its leaf was changed")
    if hashlib.sha256(found.xml.encode()).hexdigest() != said.get("xml"):
        report.findings.append(f"{name}: its XML was changed")
    for column, value in found.columns.items():
        if said.get(column) != value:
            report.findings.append(f"{name}: {column} is {value!r}, but {said.get(column)!r} was sealed")
    if sealed_at is not None and recorded < sealed_at - LATE:
        report.findings.append(f"{name}: it was back-dated to {said['recorded']}, before what was sealed already")
    if said.get("actor") != "perdura/seal":
        return sealed_at
    previous = _PREVIOUS.search(found.xml)
    if previous is not None and previous[1] not in digests:
        report.findings.append(f"{name}: the checkpoint that it names is gone")
    return recorded
