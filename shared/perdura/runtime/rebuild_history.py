"""What the events of an Archive prove of it: which steps were done, where its copies are, where it was published.

Pure: reads events as our own steps write them (`steps.archive_events`, `steps.publish_result`, `steps.withdraw`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from perdura.clients.destinations import ACCESS_PAGES
from perdura.outcome import CopyState
from perdura.ports import Placed
from perdura.premis.model import FAILURE, SUCCESS, Event
from perdura.registry import withdrawals
from perdura.steps.recall_events import READ_BACK
from perdura.steps.verify_outcome import READ_AGAIN

_STEPS = {
    "harvest": "harvest",
    "ingest": "ingest",
    "preserve": "preserve",
    "archive-cta": "archive",
    "publish": "publish",
}
_PEOPLE = "registry"
"""Records what people decide."""

_ON_TAPE = re.compile(r"copy on tape: (\S+?)(?:, in container ([0-9a-f-]{36}) at byte (\d+), (\d+) bytes)?")
_ADLER32 = re.compile(r"ADLER32 ([0-9a-f]{8})\b")
_PUBLISHED = re.compile(r"published at (\S+)")
_PUBLISHED_ON = re.compile(r"published on (\S+) as (\S+)|At (\S+) the record is .*", re.DOTALL)
_RECORD = "InvenioRDM record"
_BESIDE = (READ_AGAIN, READ_BACK, "Step recall,", "Step verify,", "Step notify,", "Step withdraw,")
"""Beginnings of the details of errands: they prove nothing of the pipeline, and their failures none of it."""
_WITHDRAWN = re.compile(r"Withdrawn from access at ([^:]+): (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TapeCopy:
    """A copy on tape that the tape system confirmed. `adler32` is that of the AIP, unknown inside a container."""

    aip: str
    uri: str
    at: datetime
    adler32: str | None = None
    state: CopyState = CopyState.HELD


@dataclass(slots=True)
class History:
    """What was done for an Archive, as its events tell; `failed` maps a step to why it failed last."""

    done: dict[str, datetime] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    attempted: set[str] = field(default_factory=set)
    objects: list[str] = field(default_factory=list)
    tape: list[TapeCopy] = field(default_factory=list)
    published: str | None = None
    placed: dict[str, list[Placed]] = field(default_factory=dict)
    """Records on access systems of others by destination, the oldest first, of what was withdrawn there as well."""
    withdrawn: dict[str, str] = field(default_factory=dict)
    decided: frozenset[str | None] = frozenset()
    """From where people withdrew it, which stands; None for everywhere."""
    begun: datetime | None = None


_DONE_BY = {"harvest": "transfer", "ingest": "ingestion", "preserve": "creation", "archive": "replication",
            "publish": "dissemination"}  # fmt: skip


def history(events: Iterable[tuple[str, Event]]) -> History:
    """Read (who recorded it, event) in the order of recording.

    Who recorded an event is told by the log; the agents in it may be a depositor's invention.
    """
    found = History()
    for actor, event in events:
        if actor == _PEOPLE and event.details:
            found.decided = withdrawals.after(found.decided, event.details[0])
        step = _STEPS.get(actor)
        if step == "archive" and event.details:
            _read_back(found, event)
        if step is None or (event.details and event.details[0].startswith(_BESIDE)):
            continue
        found.begun = min(found.begun, event.at) if found.begun else event.at
        found.objects += [each.value for each in event.objects]
        outcomes = {each.outcome for each in event.outcomes}
        if FAILURE in outcomes:
            found.attempted.add(step)
            found.done.pop(step, None)
            found.failed[step] = " ".join(note for each in event.outcomes for note in each.notes)[:1000] or event.type
        elif event.type == _DONE_BY[step]:
            found.done[step] = event.at
            found.failed.pop(step, None)
        detail = event.details[0] if event.details else ""
        if SUCCESS in outcomes:
            _placed(found, event, step, detail)
    return found


_BROKEN = {"lost-on-tape": CopyState.LOST, "fixity-mismatch": CopyState.DAMAGED}
"""How the note of a recall that failed begins, where the copy itself is the cause."""


def _read_back(found: History, event: Event) -> None:
    """What a recall found out about the copy that it read."""
    if event.type != "recovery" or not event.details[0].startswith(READ_BACK):
        return
    uri, _, what = event.details[0].removeprefix(READ_BACK).partition(": ")
    notes = [note.partition(":")[0] for each in event.outcomes for note in each.notes]
    state = next((_BROKEN[note] for note in notes if note in _BROKEN), None)
    if state is None and what == "whole package" and SUCCESS in {each.outcome for each in event.outcomes}:
        state = CopyState.HELD
    if state is not None:
        found.tape = [replace(copy, state=state) if copy.uri == uri else copy for copy in found.tape]


def _placed(found: History, event: Event, step: str, detail: str) -> None:
    if step == "archive" and (copied := _ON_TAPE.fullmatch(detail)):
        aip = next((each.value for each in event.objects if "source" in each.roles), "")
        fragment = f"#offset={copied[3]}&length={copied[4]}" if copied[2] else ""
        found.tape.append(TapeCopy(aip, copied[1] + fragment, event.at))
    elif step == "archive" and event.type == "fixity check" and found.tape and "#" not in found.tape[-1].uri:
        notes = " ".join(note for each in event.outcomes for note in each.notes)
        if told := _ADLER32.search(notes):
            last = found.tape.pop()
            found.tape.append(TapeCopy(last.aip, last.uri, event.at, told[1]))
    elif step == "publish" and (published := _PUBLISHED.match(detail)):
        found.published = published[1]
        found.withdrawn.pop(ACCESS_PAGES, None)
    elif step == "publish" and (placed := _PUBLISHED_ON.fullmatch(detail)):
        records = found.placed.setdefault(placed[1] or placed[3], [])
        known = {each.record for each in records}
        details = {"url": placed[2]} if placed[2] else {}
        named = (each.value for each in event.objects if each.type == _RECORD)
        records += [Placed(record, "published", details) for record in named if record not in known]
    elif step == "publish" and (withdrawn := _WITHDRAWN.fullmatch(detail)):
        names = withdrawn[1].split(", ")
        found.published = None if ACCESS_PAGES in names else found.published
        found.withdrawn |= dict.fromkeys(names, withdrawn[2])
