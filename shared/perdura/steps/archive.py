"""Archive: copies the AIP to tape through FTS and proves that it is there (fts-cta.md 10).

The job is noted before FTS is asked, under a key that always gives the same job; a lost answer or a killed worker
therefore never makes a second copy. FTS's FINISHED is not believed: the step completes when the tape endpoint itself
says that a file of the right size and ADLER32 is on tape. Another attempt is first written down in the checkpoint and
submitted at the next look, so that it too is asked for at most once. A retry follows the job of an earlier attempt that
may be alive: two would write to one destination, and one that fails removes it (fts-cta.md 4.5). Small AIPs wait for
others to fill a container.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from perdura.clients.fts_answers import BANNED
from perdura.errors import Broken, PerduraError, Rejected, UpstreamUnavailable
from perdura.outcome import ArchiveView, Outcome, Package, PackageKind, StepState
from perdura.packages.long_digest import LongState
from perdura.ports import Ports, TapeJobs, TapeSystem
from perdura.steps.archive_earlier import sought
from perdura.steps.archive_events import told_without_tape
from perdura.steps.archive_looking import looked
from perdura.steps.archive_outcomes import waiting
from perdura.steps.archive_source import adler32_of
from perdura.steps.archive_submission import PAUSED_SECONDS, TooSlow, held_back, stopped, submit, submit_all
from perdura.steps.archive_transfer import Transfer, again, restored, resumed, whole
from perdura.steps.quick_looks import pauses

log = logging.getLogger(__name__)
GROUPED = frozenset({"adler32", "sha256", "sha512"})
"""Checksums without which an AIP is not put into a container."""

UNCOMPRESSED = (
    "This AIP is uncompressed, one object a file, and the tape system takes one file. Skip this step: the AIP stays on "
    "disk. For a copy on tape let Archivematica compress its AIPs (processing configuration, 'Select compression "
    "algorithm': 7-Zip or gzipped tar), then preserve the Archive again."
)


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Ask FTS to copy the AIP and wait for it; COMPLETED at once when a fast tape system already has it.

    QUEUED: the AIP has no ADLER32, and reading it takes more than one invocation; to be run again at once.
    Without a tape system: COMPLETED_WITH_WARNINGS and the finding `no-tape-configured`. WAITING also when FTS does not
    answer. Raises Rejected without an AIP, Broken when FTS refuses, Retryable when the store does not answer.
    """
    aip = _asked_for(archive)
    if aip is None:
        raise Rejected("This Archive has no archival package to be put on tape.", code="no-aip")
    tape = ports.tape
    if tape is None:
        return told_without_tape(archive, aip, ports.clock.now())
    if aip.container == "prefix":
        return Outcome(StepState.BLOCKED, error_code="uncompressed-aip", message=UNCOMPRESSED)
    if not 0 < aip.size <= ports.settings.tape_largest:
        message = f"The tape system takes files of 1 to {ports.settings.tape_largest} bytes; this AIP has {aip.size}."
        return Outcome(StepState.BLOCKED, error_code="size-refused-by-tape", message=message)
    jobs = register(ports)
    now = ports.clock.now()
    transfer = _taken_up(archive, aip, ports)
    if isinstance(transfer, LongState):
        return Outcome(StepState.QUEUED, checkpoint={"hashed": {"aip": str(aip.id), **transfer.to_json()}})
    if transfer.phase == "group":
        return waiting(transfer, now, ports, "tape-group", ports.settings.tape_group_seconds)
    if transfer.phase in ("submit", "earlier") and archive.step.attempt > 1:
        ((_, found),) = _sought([replace(transfer, phase="earlier")], tape, jobs, ports)
        if isinstance(found, Outcome):
            return found
        transfer = found
    if transfer.phase == "submit":
        try:
            submitted = submit(transfer, tape, jobs, ports)
        except UpstreamUnavailable as error:
            # However long it lasts: the tick asks again for all that wait, and nobody has to retry them by hand.
            return waiting(replace(transfer, looks=1), now, ports, error.code, said=error.message)
        except Broken as error:
            if error.code != BANNED:
                raise
            return stopped(transfer, error, jobs, ports)
        if submitted is None:
            return held_back(transfer, jobs, ports)
        transfer = submitted
    for pause in pauses(ports.settings):
        time.sleep(pause)
        try:
            outcome = looked([transfer], tape, jobs, ports, quick=True)[0]
        except PerduraError as error:
            return _unanswered(transfer, error, jobs, ports)
        if outcome.state is not StepState.WAITING:
            return outcome
        transfer = restored(archive, aip, outcome.checkpoint or {})
        if transfer.phase == "submit":
            return outcome
    return waiting(transfer, ports.clock.now(), ports, "submitted")


def poll(archives: Sequence[ArchiveView], ports: Ports) -> Sequence[tuple[ArchiveView, Outcome]]:
    """Look at many waiting AIPs in as few requests as the tape system allows.

    A look that fails changes nothing: those Archives wait for the next one.
    """
    tape = ports.tape
    now = ports.clock.now()
    if tape is None:
        later = now + timedelta(seconds=PAUSED_SECONDS)
        message = "The tape system is no longer configured."
        return [(each, Outcome(StepState.WAITING, poll_at=later, message=message)) for each in archives]
    jobs = register(ports)
    outcomes: dict[Any, Outcome] = {}
    transfers: list[Transfer] = []
    for archive in archives:
        try:
            transfers.append(_alone(resumed(archive)))
        except Broken as error:
            outcomes[archive.id] = Outcome(StepState.BLOCKED, error_code=error.code, message=error.message)
    earlier = [transfer for transfer in transfers if transfer.phase == "earlier"]
    transfers = [transfer for transfer in transfers if transfer.phase != "earlier"]
    for transfer, found in _sought(earlier, tape, jobs, ports):
        if isinstance(found, Outcome):
            outcomes[transfer.archive.id] = found
        else:
            transfers.append(found)
    asking = [transfer for transfer in transfers if transfer.phase == "submit"]
    looking = [transfer for transfer in transfers if transfer.phase != "submit"]
    for transfer, outcome in zip(asking, submit_all(asking, tape, jobs, ports), strict=True):
        outcomes[transfer.archive.id] = outcome
    try:
        if looking and ports.deadline.near():
            raise TooSlow
        seen = looked(looking, tape, jobs, ports)
    except PerduraError as error:
        seen = [_unanswered(transfer, error, jobs, ports) for transfer in looking]
    outcomes |= {transfer.archive.id: outcome for transfer, outcome in zip(looking, seen, strict=True)}
    return [(archive, outcomes[archive.id]) for archive in archives]


def _sought(
    transfers: Sequence[Transfer], tape: TapeSystem, jobs: TapeJobs, ports: Ports
) -> list[tuple[Transfer, Transfer | Outcome]]:
    """What earlier attempts left of each; while the tape system does not answer they wait."""
    found: Sequence[Transfer | Outcome]
    try:
        found = sought(transfers, tape, jobs, ports)
    except PerduraError as error:
        found = [_unanswered(transfer, error, jobs, ports) for transfer in transfers]
    return list(zip(transfers, found, strict=True))


def _unanswered(transfer: Transfer, error: PerduraError, jobs: TapeJobs, ports: Ports) -> Outcome:
    """The outcome of a look that failed: nothing is concluded from it."""
    log.warning("the tape system could not be asked: %s", error.message)
    if error.code == BANNED:
        jobs.stop(error.message)
    return waiting(transfer, ports.clock.now(), ports, error.code, said=error.message)


def register(ports: Ports) -> TapeJobs:
    """The register of jobs; raises Broken where the runtime gave none."""
    if ports.tape_jobs is None:
        raise Broken("The register of tape jobs is missing.", code="tape-configuration")
    return ports.tape_jobs


def _asked_for(archive: ArchiveView) -> Package | None:
    """The AIP in use, or the version whose copy is to be made again."""
    asked = archive.step.input.get("package")
    if asked is None:
        return archive.package(PackageKind.AIP)
    found = archive.package_of_id(asked)
    return found if found is not None and found.kind is PackageKind.AIP else None


def _taken_up(archive: ArchiveView, aip: Package, ports: Ports) -> Transfer | LongState:
    """A new transfer, or the one a killed worker had begun; how far the AIP is hashed where that takes longer."""
    if archive.step.checkpoint.get("path"):
        return restored(archive, aip, archive.step.checkpoint)
    settings = ports.settings
    small = aip.size < settings.tape_group_below and settings.tape_gateway_url is not None
    grouped = small and archive.step.attempt == 1 and not again(archive) and set(aip.checksums) >= GROUPED
    adler32 = adler32_of(aip, archive.step.checkpoint.get("hashed") or {}, ports)
    if isinstance(adler32, LongState):
        return adler32
    return whole(archive, aip, adler32, "group" if grouped else "submit")


def _alone(transfer: Transfer) -> Transfer:
    """An AIP that found no others in its time goes to tape as a file of its own."""
    return replace(transfer, phase="submit") if transfer.phase == "group" else transfer
