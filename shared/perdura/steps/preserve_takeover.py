"""Takes over an AIP that somebody else made: verified as it is, registered as it is (archivematica.md 6.4, 7).

The package stays byte for byte what its maker made. Its size and digests are compared with the Storage Service's
record and pointer file, its bag with its manifests, its METS with the bag, and the SIP's payload with all of them.
Only then is anything recorded. What one invocation does not finish, the next goes on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from perdura.errors import PerduraError
from perdura.fleet import GONE, Archivematica, ArchivematicaUnavailable, Stored, Submission
from perdura.outcome import ArchiveView, Finding, Outcome, StepState
from perdura.packages.mets_read import BadMets, MetsTooLarge
from perdura.packages.pointer import Pointer, read_pointer
from perdura.ports import Ports
from perdura.premis.xml import BadPremis
from perdura.steps.preserve_outsized import has_job
from perdura.steps.preserve_takeover_bytes import Source, compare, hashed, is_whole, placed
from perdura.steps.preserve_takeover_course import KEY, Continued, Course, Flawed, NotJudged, course_of
from perdura.steps.preserve_takeover_dips import Dips, dips_taken
from perdura.steps.preserve_takeover_history import History, read_history, record
from perdura.steps.preserve_takeover_inside import Inside, look_inside
from perdura.steps.preserve_takeover_kept import keep, kept
from perdura.steps.preserve_takeover_lock import retained
from perdura.steps.preserve_takeover_normalised import not_normalised
from perdura.steps.preserve_takeover_outcome import flawed, not_judged, taken_over
from perdura.steps.preserve_takeover_scanned import not_scanned
from perdura.storage.timed import TimeUp

_FINDINGS = 100
_NOTHING_COMPARED = (
    "There is nothing to compare its bytes with: it could not be opened here (PERDURA_SEVEN_ZIP, "
    "PERDURA_SCRATCH_BYTES), and the Storage Service has no pointer file with a digest of the whole."
)
_MAY_BE_CUT_OFF = "It came as a stream of which the Storage Service does not say how long it is."
_LOOKS = 6
_PATIENCE = timedelta(hours=1)
"""How long an AIP that was found good waits for a DIP or a list of jobs that cannot be had."""


class NotYet(PerduraError):
    """The Storage Service does not show the package as stored yet."""

    code = "not-yet-stored"


def take_over(archive: ArchiveView, submission: Submission, archivematica: Archivematica, ports: Ports) -> Outcome:
    """Verify and register the AIP of a submission, and its DIP where there is one.

    QUEUED with a checkpoint when the time of this invocation is up, WAITING while a DIP cannot be had. FAILED with
    `aip-flawed` and the like (nothing is deleted) when bytes that must be all of the AIP are wrong, BLOCKED when it is
    not taken over for anything else. Raises NotYet, Retryable when the store or the Storage Service fails, and TimeUp
    for what cannot be divided.
    """
    shown = _record(submission, archivematica)
    course = course_of(archive)
    try:
        pointer = _pointer(shown, archivematica)
        course, inside, history = _verified(archive, shown, archivematica, pointer, course, ports, scanned=False)
        unscanned = not_scanned(history, ports)
        course, unlocked = retained(course, ports)
        patient = ports.clock.now() - (submission.moved_at or submission.queued_at) < _PATIENCE
        dips = _dips(archive, shown, archivematica, course, ports, patient=patient)
        warnings = _not_normalised(shown, archivematica, course, patient=patient)
    except (NotJudged, MetsTooLarge, BadPremis) as error:
        return not_judged(shown, error)
    except (Flawed, BadMets) as error:
        return flawed(archive, shown, error, ports)
    except Continued as up:
        return _later(up, ports)
    findings = (*inside.findings, *unscanned, *unlocked, *warnings)
    return taken_over(archive, course, dips, inside, history, findings, ports)


def _dips(
    archive: ArchiveView, shown: Stored, archivematica: Archivematica, course: Course, ports: Ports, *, patient: bool
) -> Dips:
    progressed = course != course_of(archive)
    try:
        return dips_taken(archive, shown, archivematica, ports, patient=patient, again=progressed or has_job(ports))
    except TimeUp:
        if not progressed:
            raise
        raise Continued(course) from None
    except ArchivematicaUnavailable as error:
        raise Continued(course, error) from error


def _not_normalised(shown: Stored, archivematica: Archivematica, course: Course, *, patient: bool) -> Sequence[Finding]:
    try:
        return not_normalised(shown.id, archivematica, patient=patient)
    except ArchivematicaUnavailable as error:
        raise Continued(course, error) from error


def take_over_stored(archive: ArchiveView, shown: Stored, source: Source, ports: Ports) -> Outcome:
    """Take over an AIP that lies nowhere but at `source`, of files that were scanned for viruses here.

    It is copied to our bucket and verified inside and out. As `take_over`; once it was copied, `go_on` finishes
    without the source.
    """
    return _on_its_own(archive, shown, source, replace(course_of(archive), record=shown), ports, scanned=True)


def go_on(archive: ArchiveView, ports: Ports, *, scanned: bool) -> Outcome | None:
    """Go on with what was copied in an earlier invocation; None when there is no such thing.

    `scanned` says that its files were scanned for viruses here, whatever its METS tells.
    """
    course = course_of(archive)
    if course.record is None or course.package is None:
        return None
    return _on_its_own(archive, course.record, None, course, ports, scanned=scanned)


def _on_its_own(
    archive: ArchiveView, shown: Stored, source: Source | None, course: Course, ports: Ports, *, scanned: bool
) -> Outcome:
    try:
        course, inside, history = _verified(archive, shown, source, None, course, ports, scanned=scanned)
        unscanned = () if scanned else not_scanned(history, ports)
        course, unlocked = retained(course, ports)
    except (NotJudged, MetsTooLarge, BadPremis) as error:
        return not_judged(shown, error)
    except (Flawed, BadMets) as error:
        return flawed(archive, shown, error, ports)
    except Continued as up:
        return _later(up, ports)
    return taken_over(archive, course, Dips(), inside, history, (*inside.findings, *unscanned, *unlocked), ports)


def _verified(
    archive: ArchiveView,
    shown: Stored,
    source: Source | None,
    pointer: Pointer | None,
    course: Course,
    ports: Ports,
    *,
    scanned: bool,
) -> tuple[Course, Inside, History]:
    """Everything is there and as it must be; a long history is in the log.

    Raises Continued when time is up, TimeUp when a whole invocation did not suffice for what cannot be divided, Flawed
    and BadMets for bytes that must be all of the AIP, NotJudged and MetsTooLarge, ArchivematicaUnavailable for what
    came by the Storage Service and is to be asked for again.
    """
    begun = course
    course = hashed(placed(archive, shown, source, course, ports), ports)
    package = course.package
    assert package is not None
    compared = compare(shown, pointer, package, course.written)
    if ports.deadline.near():
        raise Continued(course)
    if course.kept is not None:
        inside = kept(archive, course.kept, ports)
        course = _recorded(archive, inside, pointer, course, ports)
        return course, inside, read_history(archive, package, inside, pointer, ports)
    archivematica = source if isinstance(source, Archivematica) else None
    try:
        with look_inside(archive, shown, archivematica, course, ports) as inside:
            if inside.manifest is None and not compared:
                raise NotJudged(_NOTHING_COMPARED, code="aip-not-compared")
            try:
                history = read_history(archive, package, inside, pointer, ports)
                _complete(archive, history, ports)
                if not scanned:
                    not_scanned(history, ports)
            except TimeUp:
                course = replace(course, receipts=inside.put_down())
                raise
            except BadMets as error:
                if inside.manifest is not None:
                    raise
                message = f"The METS that the Storage Service extracts cannot be read: {error.message}"
                raise ArchivematicaUnavailable(message) from error
            if history.is_long:
                course = keep(archive, inside, course, ports)
                inside = kept(archive, course.kept or {}, ports)
                course = _recorded(archive, inside, pointer, course, ports)
    except TimeUp:
        if course == begun:
            raise
        raise Continued(course) from None
    except (Flawed, BadMets) as error:
        if compared or is_whole(shown, package, course.written):
            raise
        raise NotJudged(f"{error.message} {_MAY_BE_CUT_OFF}", code=error.code) from error
    return course, inside, history


def _recorded(archive: ArchiveView, inside: Inside, pointer: Pointer | None, course: Course, ports: Ports) -> Course:
    package = course.package
    assert package is not None
    if ports.deadline.near():
        raise Continued(course)
    done = record(archive, package, inside, pointer, course.recorded, ports)
    course = replace(course, recorded=done)
    if ports.deadline.near():
        raise Continued(course)
    return course


def _later(up: Continued, ports: Ports) -> Outcome:
    checkpoint = {KEY: up.course.to_json()}
    if up.cause is None:
        return Outcome(StepState.QUEUED, checkpoint=checkpoint)
    finding = Finding(up.cause.code, up.cause.message, "warning")
    at = ports.clock.now() + _PATIENCE / _LOOKS
    return Outcome(StepState.WAITING, checkpoint=checkpoint, poll_at=at, findings=(finding,))


def _record(submission: Submission, archivematica: Archivematica) -> Stored:
    if submission.sip is None:
        raise NotYet("Archivematica has not said which package it made.")
    found = archivematica.package(submission.sip)
    if found is None or found.status in {"PENDING", "STAGING", "MOVING", "FINALIZE"}:
        state = found.status if found else "not there"
        raise NotYet(f"The Storage Service's record of {submission.sip} is {state}.")
    return found


def _pointer(shown: Stored, archivematica: Archivematica) -> Pointer | None:
    if shown.status in GONE:
        raise Flawed(f"The Storage Service calls the package {shown.status}.", code="aip-not-stored")
    if shown.status not in {"UPLOADED", "VERIFIED"}:
        raise NotJudged(f"The Storage Service calls the package {shown.status}.", code="aip-not-stored")
    text = archivematica.pointer(shown.id)
    if text is None:
        return None
    try:
        return read_pointer(text)
    except BadMets as error:
        # It is no part of the AIP, and may be a page of something between.
        raise ArchivematicaUnavailable(f"The pointer file cannot be read: {error.message}") from error


def _complete(archive: ArchiveView, history: History, ports: Ports) -> None:
    """Every payload file of the SIP has to be in the AIP, by digest."""
    lost = [path for path, digest in history.submitted(archive, ports) if digest not in history.digests]
    if lost:
        findings = tuple(Finding("file-lost", f"{path} is not in the AIP.", path=path) for path in lost[:_FINDINGS])
        raise Flawed(f"{len(lost)} files of the submission are not in the AIP: {lost[0]}", findings, code="file-lost")
