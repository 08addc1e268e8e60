"""Recall: brings an AIP, or one file of it, back from tape, and rehearses doing so (fts-cta.md 9).

The tape system stages the file on its disk; it is then read by range into the store and hashed on the way, in as many
invocations as that takes, compared with the registry, and released. What was recalled stays in the store for some days;
the runtime removes it. A drill reads and hashes everything and keeps nothing: it proves that the copy on tape can be
restored.

Input of the step: `package` names the version of the AIP, without it that in use is meant; `file` one file of it;
`drill` true asks for a drill; without either the whole AIP.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from perdura.errors import Broken, NotFound, NotStored, PerduraError, Rejected, Retryable
from perdura.outcome import ArchiveView, Copy, CopyState, Fact, Finding, Outcome, Package, PackageKind, StepState
from perdura.packages.aip_index import decode, lines
from perdura.ports import Ports, Staging, TapeSystem
from perdura.steps.archive_decisions import next_look
from perdura.steps.archive_transfer import CONTAINERS, file_name
from perdura.steps.quick_looks import pauses
from perdura.steps.recall_events import Recalled, failed, recalled
from perdura.steps.recall_reading import Progress, Reading, Target, read_on, reading_from
from perdura.steps.recall_request import let_go
from perdura.storage.store import ObjectRef

log = logging.getLogger(__name__)
IN_CONTAINER = re.compile(r"(?P<path>containers/[0-9a-f-]{36}\.tar)#offset=(?P<offset>\d+)&length=\d+$")
READINGS = 3
"""Times the same staged file is read before it is staged anew."""
ROUNDS = 3
"""Stage requests made before a person is asked."""
PREFIX = "recalled/"
PIN_SLACK = 86400
LOST = ("lost", "LOST")


@dataclass(frozen=True, slots=True)
class Recall:
    """One recall under way: what the checkpoint remembers between two looks."""

    archive: ArchiveView
    aip: Package
    copy: Copy
    path: str
    offset: int = 0
    request: str | None = None
    round: int = 1
    looks: int = 0
    since: str | None = None
    broken: int = 0
    """Readings of this round that broke off and brought nothing."""
    reading: Reading = field(default_factory=Reading)

    def checkpoint(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "aip": str(self.aip.id), "path": self.path, "request": self.request, "round": self.round,
            "looks": self.looks, "since": self.since, "broken": self.broken,
            "reading": self.reading.to_json(),
        }  # fmt: skip


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Ask for the file on disk and look; what is on disk is read at once. WAITING: to be run again later.

    A look that fails changes nothing: while the tape system or the store does not answer, the recall waits, however
    long. Raises Rejected when the Archive has no copy on tape or the AIP no such file, Broken without a tape system or
    when it refuses the stage request.
    """
    tape = _tape(ports)
    found = taken_up(archive)
    try:
        target = target_of(found, ports)
        if found.request is None:
            found = _staged(found, tape, ports)
        return _looked(found, target, _progress_soon(tape, found, ports), tape, ports)
    except Retryable as error:
        log.warning("recall: %s", error.message, extra={"archive": archive.id})
        return _waiting(replace(found, looks=found.looks + 1), ports, error.code, error.message)
    except Broken as error:
        if found.request is None:
            raise
        # What was asked for is in the checkpoint: a retry goes on with it, and who cancels the recall withdraws it.
        return _stopped(found, StepState.BLOCKED, error.code, error.message, ports)


def target_of(found: Recall, ports: Ports) -> Target:
    """What the step's input asks for; raises Rejected."""
    wanted = found.archive.step.input.get("file")
    base = f"{PREFIX}{found.archive.id}/{found.aip.id}"
    if wanted is None:
        drill = bool(found.archive.step.input.get("drill"))
        kept = f"{PREFIX}{found.archive.id}/{file_name(found.aip)}"
        return Target(found.offset, found.aip.size, found.aip.checksums, None if drill else kept, True)
    if found.aip.index_key is None:
        raise Rejected("This AIP has no index; it can only be recalled as a whole.", code="no-aip-index")
    ref = ObjectRef(found.aip.bucket, found.aip.index_key)
    _, entries = decode(lines(ports.store.stream(ref)))
    for entry in entries:
        member = entry.member
        if member.path == wanted:
            start = found.offset + member.offset
            return Target(start, member.size, dict(member.digests), f"{base}/{member.path}", False)
    raise NotFound(f"The AIP has no file {wanted!r}.")


def _tape(ports: Ports) -> TapeSystem:
    if ports.tape is None:
        raise Broken("No tape system is configured.", code="no-tape-configured")
    return ports.tape


def taken_up(archive: ArchiveView) -> Recall:
    """The recall that the step asks for, as far as it is; raises Rejected without a copy on tape."""
    checkpoint = archive.step.checkpoint
    aip, copy = _version(archive)
    path, offset = place_on_tape(copy, f"{archive.id}/{aip.id}")
    return Recall(
        archive,
        aip,
        copy,
        path,
        offset,
        request=checkpoint.get("request"),
        round=checkpoint.get("round", 1),
        looks=checkpoint.get("looks", 0),
        since=checkpoint.get("since"),
        broken=checkpoint.get("broken", 0),
        reading=reading_from(checkpoint.get("reading")),
    )


def _version(archive: ArchiveView) -> tuple[Package, Copy]:
    """The version begun with, or asked for; else that in use, never another one in its stead. Raises Rejected."""
    asked = archive.step.checkpoint.get("aip") or archive.step.input.get("package")
    used = archive.package(PackageKind.AIP)
    aip = used if asked is None else archive.package_of_id(asked)
    for copy in archive.copies:
        if aip is not None and (copy.package_id, copy.location) == (aip.id, "tape"):
            return aip, copy
    which = f"version {asked}" if asked else "AIP in use"
    raise Rejected(f"This Archive has no copy of its {which} on tape.", code="no-tape-copy")


def place_on_tape(copy: Copy, own_path: str) -> tuple[str, int]:
    """The file on tape that holds a copy, and where the AIP begins in it: its address says so.

    `own_path` is that of a file of its own, without the ending.
    """
    match = IN_CONTAINER.search(copy.uri)
    if match is not None:
        return match["path"], int(match["offset"])
    own = re.search(rf"{re.escape(own_path)}(-\d+)?\.({'|'.join(map(re.escape, CONTAINERS))})$", copy.uri)
    return own[0] if own is not None else f"{own_path}.tar", 0


def _staged(found: Recall, tape: TapeSystem, ports: Ports) -> Recall:
    """Send a stage request. One sent twice after a crash costs nothing: the file is on disk then."""
    lifetime = int(ports.settings.tape_patience_days * 86400) + PIN_SLACK
    request = tape.stage([found.path], lifetime)
    return replace(found, request=request, since=ports.clock.now().isoformat(), looks=0)


def _progress(tape: TapeSystem, found: Recall) -> Staging | None:
    """How far the request is; None when the tape system has forgotten it."""
    try:
        return tape.staged(str(found.request)).get(found.path)
    except NotStored:
        return None


def _progress_soon(tape: TapeSystem, found: Recall, ports: Ports) -> Staging | None:
    """The same, after some waiting for a tape system that is a fast one."""
    progress = _progress(tape, found)
    for pause in pauses(ports.settings):
        if progress is None or progress.on_disk or progress.error is not None:
            break
        time.sleep(pause)
        progress = _progress(tape, found)
    return progress


def _looked(found: Recall, target: Target, progress: Staging | None, tape: TapeSystem, ports: Ports) -> Outcome:
    now = ports.clock.now()
    if progress is not None and progress.on_disk:
        return _read(found, target, tape, ports)
    if progress is None:
        return _again(found, "the tape system has forgotten the stage request", tape, ports)
    if progress.error is not None:
        if any(word in progress.error for word in LOST):
            _let_go(found, tape)
            return _lost(found, progress.error, ports)
        return _again(found, progress.error, tape, ports)
    since = datetime.fromisoformat(found.since) if found.since else now
    if now - since > timedelta(days=ports.settings.tape_patience_days):
        return _again(found, "the file was not staged in time", tape, ports)
    return _waiting(replace(found, looks=found.looks + 1), ports, "staging")


def _let_go(found: Recall, tape: TapeSystem) -> None:
    """Leave no request behind; a pin that cannot be released runs out by itself, and no recall fails for it."""
    try:
        let_go(tape, str(found.request), [found.path])
    except PerduraError as error:
        log.warning("stage request %s: %s", found.request, error.message, extra={"archive": found.archive.id})


def _again(found: Recall, said: str, tape: TapeSystem, ports: Ports) -> Outcome:
    _let_go(found, tape)
    if found.round >= ROUNDS:
        message = f"The AIP cannot be brought back from tape: {said} ({found.round} requests)"
        return _stopped(found, StepState.BLOCKED, "staging-failed", message, ports)
    following = replace(found, request=None, round=found.round + 1, broken=0)
    return _waiting(following, ports, "staging-again", said)


def _waiting(found: Recall, ports: Ports, code: str, said: str = "") -> Outcome:
    first, longest = ports.settings.tape_poll_seconds, ports.settings.tape_poll_longest
    return Outcome(
        StepState.WAITING,
        checkpoint=found.checkpoint(),
        poll_at=next_look(ports.clock.now(), found.looks, first, longest),
        output={"recall": {"waiting_for": code, "request": found.request}},
        findings=(Finding(code, said, "warning"),) if said else (),
    )


def _read(found: Recall, target: Target, tape: TapeSystem, ports: Ports) -> Outcome:
    """Read on from the tape system's disk; what is all there is compared, kept and released."""
    progress = read_on(target, found.reading, lambda offset, size: tape.read(found.path, offset, size), ports)
    if progress.result is None:
        return _to_be_continued(found, progress, tape, ports)
    try:
        tape.release(str(found.request), [found.path])
    except PerduraError as error:
        # The pin runs out by itself; a recall does not fail for it.
        log.warning("release: %s", error.message, extra={"archive": found.archive.id})
    if progress.result.wrong:
        return _damaged(found, progress.result, ports)
    return _completed(found, target, progress.result, ports)


def _to_be_continued(found: Recall, progress: Progress, tape: TapeSystem, ports: Ports) -> Outcome:
    """Go on at once where only time was up; after a while, or with the file staged anew, where the reading broke."""
    further = replace(found, reading=progress.reading)
    if not progress.broken:
        if progress.reading.again and not found.reading.again:
            log.warning("what came from tape differs; it is read once more", extra={"archive": found.archive.id})
        return Outcome(StepState.QUEUED, checkpoint=further.checkpoint())
    brought = progress.reading.state.offset > found.reading.state.offset
    further = replace(further, broken=0 if brought else found.broken + 1)
    if further.broken >= READINGS:
        return _again(further, progress.broken, tape, ports)
    return _waiting(replace(further, looks=found.looks + 1), ports, "reading-again", progress.broken)


def _completed(found: Recall, target: Target, result: Recalled, ports: Ports) -> Outcome:
    now = ports.clock.now()
    facts: tuple[Fact, ...] = ()
    output: dict[str, Any] = {"drill": target.key is None, "bytes": result.size, "checksums": dict(result.found)}
    if result.ref is not None:
        expires = now + timedelta(days=ports.settings.tape_recall_days)
        output |= {
            "bucket": result.ref.bucket, "key": result.ref.key, "version_id": result.ref.version_id,
            "expires_at": expires.isoformat(),
        }  # fmt: skip
    if result.ref is not None and target.whole:
        reference = {
            "id": str(found.aip.id), "kind": "AIP", "bucket": result.ref.bucket, "key": result.ref.key,
            "version_id": result.ref.version_id, "size": result.size, "checksums": dict(result.found),
        }  # fmt: skip
        facts = (Fact("org.perdura.aip.recalled.v1", {"archive": str(found.archive.id), "package": reference}),)
    return Outcome(
        StepState.COMPLETED,
        copies=(replace(found.copy, verified_at=now, state=CopyState.HELD),) if target.whole else (),
        events=recalled(
            found.archive, found.aip, now, found.copy.uri, result, file=found.archive.step.input.get("file")
        ),
        facts=facts,
        output={"recall": output},
    )


def _damaged(found: Recall, result: Recalled, ports: Ports) -> Outcome:
    message = f"What came from tape is not what was archived: {'; '.join(result.wrong)}"
    fact = Fact(
        "org.perdura.fixity.failed.v1",
        {
            "archive": str(found.archive.id),
            "package": str(found.aip.id),
            "location": "tape",
            "expected": dict(result.expected),
            "found": dict(result.found),
        },
    )
    told = replace(found, copy=replace(found.copy, state=CopyState.DAMAGED))
    return _stopped(told, StepState.FAILED, "fixity-mismatch", message, ports, (fact,))


def _lost(found: Recall, said: str, ports: Ports) -> Outcome:
    fact = Fact(
        "org.perdura.fixity.failed.v1",
        {
            "archive": str(found.archive.id),
            "package": str(found.aip.id),
            "location": "tape",
            "expected": dict(found.copy.checksums),
            "found": {},
        },
    )
    message = f"The tape system has lost the file: {said}"
    told = replace(found, copy=replace(found.copy, state=CopyState.LOST))
    return _stopped(told, StepState.BLOCKED, "lost-on-tape", message, ports, (fact,))


def _stopped(
    found: Recall, state: StepState, code: str, message: str, ports: Ports, facts: tuple[Fact, ...] = ()
) -> Outcome:
    log.error("%s: %s", code, message, extra={"archive": found.archive.id})
    return Outcome(
        state,
        error_code=code,
        message=message,
        findings=(Finding(code, message),),
        copies=(found.copy,) if found.copy.state is not CopyState.HELD else (),
        events=(failed(found.archive, found.aip, ports.clock.now(), found.copy.uri, code, message),),
        facts=facts,
        checkpoint=found.checkpoint(),
    )
