"""Archive: copies the AIP to tape through FTS and proves that it is there (fts-cta.md 10).

The intent is declared before FTS is asked, under a job key that always gives the same job; a lost answer or a killed
worker therefore never makes a second copy. FTS's FINISHED is not believed: the step completes when the tape endpoint
itself says that a file of the right size and ADLER32 is on tape. Another attempt is first written down in the
checkpoint and submitted at the next look, so that it too is asked for at most once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from perdura.errors import Broken, PerduraError, Rejected, Retryable
from perdura.outcome import ArchiveView, Copy, Fact, Finding, Outcome, Package, PackageKind, StepState
from perdura.ports import Ports, Residency, TapeJob, TapeRequest, TapeSystem
from perdura.steps.archive_decisions import Act, Decision, Expected, next_look, on_job, on_residency
from perdura.steps.archive_events import Told, archived_events, attempt_failed, told_without_tape
from perdura.steps.archive_source import adler32_of, source_of

log = logging.getLogger(__name__)
QUICK_LOOKS = (0.25, 0.4)
"""Seconds to wait before each look that `run` itself takes, when the tape system is a fast one."""
FAST = 1.0
"""A tape system that may be asked again after so many seconds counts as fast."""
PAUSED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """One AIP on its way to tape: what the checkpoint remembers between two looks.

    `phase` is `submit` (nothing asked yet in this round), `job` (FTS works) or `tape` (the file is there and waits
    for tape, with no job any more).
    """

    archive: ArchiveView
    aip: Package
    path: str
    adler32: str
    phase: str = "submit"
    round: int = 1
    job: str | None = None
    looks: int = 0
    complaints: int = 0
    on_disk_since: str | None = None

    @property
    def expected(self) -> Expected:
        """What must be on tape."""
        return Expected(self.aip.size, self.adler32)

    @property
    def job_key(self) -> str:
        """AIP, copy and attempt: the same key never starts a second job (fts-cta.md 2.8)."""
        return f"{self.aip.id}:tape:{self.archive.step.attempt}.{self.round}"

    def checkpoint(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "aip": str(self.aip.id), "path": self.path, "adler32": self.adler32, "phase": self.phase,
            "round": self.round, "job": self.job, "looks": self.looks, "complaints": self.complaints,
            "on_disk_since": self.on_disk_since,
        }  # fmt: skip


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Ask FTS to copy the AIP and wait for it; COMPLETED at once when a fast tape system already has it.

    Without a tape system: COMPLETED_WITH_WARNINGS and the finding `no-tape-configured`. Raises Rejected without an
    AIP, Retryable when FTS does not answer, Broken when FTS refuses.
    """
    aip = archive.package(PackageKind.AIP)
    if aip is None:
        raise Rejected("This Archive has no archival package to be put on tape.", code="no-aip")
    tape = ports.tape
    if tape is None:
        return told_without_tape(archive, aip, ports.clock.now())
    if not 0 < aip.size <= ports.settings.tape_largest:
        message = f"The tape system takes files of 1 to {ports.settings.tape_largest} bytes; this AIP has {aip.size}."
        return Outcome(StepState.BLOCKED, error_code="size-refused-by-tape", message=message)
    transfer = _taken_up(archive, aip, ports)
    if transfer.phase == "submit":
        if archive.step.attempt > 1 and (settled := _there_already(transfer, tape, ports)) is not None:
            return settled
        if ports.settings.tape_paused:
            return _waiting(transfer, ports.clock.now(), ports, "tape-paused", PAUSED_SECONDS)
        transfer = _submitted(transfer, tape, ports)
    fast = ports.settings.tape_poll_seconds <= FAST
    for pause in QUICK_LOOKS if fast else ():
        time.sleep(pause)
        outcome = _looked([transfer], tape, ports)[0]
        if outcome.state is not StepState.WAITING:
            return outcome
        transfer = _restored(archive, aip, outcome.checkpoint or {})
        if transfer.phase == "submit":
            return outcome
    return _waiting(transfer, ports.clock.now(), ports, "submitted")


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
    transfers = [_resumed(archive) for archive in archives]
    outcomes: dict[Any, Outcome] = {}
    for transfer in transfers:
        if transfer.phase == "submit":
            outcomes[transfer.archive.id] = _submitted_now(transfer, tape, ports)
    looking = [transfer for transfer in transfers if transfer.phase != "submit"]
    try:
        looked = _looked(looking, tape, ports)
    except PerduraError as error:
        log.warning("the tape system could not be asked: %s", error.message)
        looked = [_waiting(transfer, now, ports, error.code) for transfer in looking]
    outcomes |= {transfer.archive.id: outcome for transfer, outcome in zip(looking, looked, strict=True)}
    return [(archive, outcomes[archive.id]) for archive in archives]


def _taken_up(archive: ArchiveView, aip: Package, ports: Ports) -> Transfer:
    """A new transfer, or the one a killed worker had begun."""
    if archive.step.checkpoint.get("path"):
        return _restored(archive, aip, archive.step.checkpoint)
    return Transfer(archive, aip, f"{archive.id}/{aip.id}.tar", adler32_of(aip, ports))


def _resumed(archive: ArchiveView) -> Transfer:
    checkpoint = archive.step.checkpoint
    aip = next((package for package in archive.packages if str(package.id) == checkpoint.get("aip")), None)
    if aip is None:
        raise Broken("The package that waits for tape is no longer in the registry.", code="no-aip")
    return _restored(archive, aip, checkpoint)


def _restored(archive: ArchiveView, aip: Package, checkpoint: Mapping[str, Any]) -> Transfer:
    return Transfer(
        archive,
        aip,
        checkpoint["path"],
        checkpoint["adler32"],
        phase=checkpoint["phase"],
        round=checkpoint["round"],
        job=checkpoint["job"],
        looks=checkpoint["looks"],
        complaints=checkpoint["complaints"],
        on_disk_since=checkpoint["on_disk_since"],
    )


def _submitted(transfer: Transfer, tape: TapeSystem, ports: Ports) -> Transfer:
    """Declare the intent, ask FTS, confirm; raises what the tape system raises."""
    key = f"tape:{transfer.job_key}"
    ports.intents.declare(key, {"path": transfer.path, "job_key": transfer.job_key})
    source = source_of(transfer.aip, ports)
    job = tape.submit(
        TapeRequest(
            job_key=transfer.job_key,
            source_url=source.url,
            destination_path=transfer.path,
            size=transfer.aip.size,
            adler32=transfer.adler32,
            metadata={"archive": str(transfer.archive.id), "aip": str(transfer.aip.id), "round": str(transfer.round)},
            source_token=source.token,
            verify_source=source.tells_checksum,
            priority=ports.settings.tape_priority,
        )
    )
    ports.intents.confirm(key, {"job": job})
    return replace(transfer, phase="job", job=job, looks=0)


def _submitted_now(transfer: Transfer, tape: TapeSystem, ports: Ports) -> Outcome:
    """Submit the round that the checkpoint announced; what fails is tried at the next look or shown to a person."""
    now = ports.clock.now()
    if ports.settings.tape_paused:
        return _waiting(transfer, now, ports, "tape-paused", PAUSED_SECONDS)
    try:
        return _waiting(_submitted(transfer, tape, ports), now, ports, "submitted")
    except Retryable as error:
        return _waiting(transfer, now, ports, error.code)
    except PerduraError as error:
        decision = Decision(Act.OPERATOR, error.code, error.message)
        return _blocked(transfer, decision, now)


def _there_already(transfer: Transfer, tape: TapeSystem, ports: Ports) -> Outcome | None:
    """The outcome when an earlier attempt's file is at the destination; None when there is none."""
    found = tape.residency([transfer.path]).get(transfer.path)
    if found is None or not (found.on_disk or found.on_tape):
        return None
    return _on_found(replace(transfer, phase="tape"), found, ports)


def _looked(transfers: Sequence[Transfer], tape: TapeSystem, ports: Ports) -> list[Outcome]:
    """One look at each: jobs in bulk, then the residency of those whose job is not all that counts."""
    ids = [transfer.job for transfer in transfers if transfer.phase == "job" and transfer.job]
    jobs = tape.jobs(ids) if ids else {}
    decisions = [_decided(transfer, jobs) for transfer in transfers]
    asked = [t.path for t, d in zip(transfers, decisions, strict=True) if d.act in (Act.INSPECT, Act.MONITOR)]
    found = tape.residency(asked) if asked else {}
    return [
        _on_found(transfer, found.get(transfer.path), ports, decision)
        if decision.act in (Act.INSPECT, Act.MONITOR)
        else _acted(transfer, decision, ports)
        for transfer, decision in zip(transfers, decisions, strict=True)
    ]


def _decided(transfer: Transfer, jobs: Mapping[str, TapeJob]) -> Decision:
    if transfer.phase == "tape" or transfer.job is None:
        return Decision(Act.MONITOR, "on-disk")
    return on_job(jobs.get(transfer.job) or TapeJob(transfer.job, "unknown"), transfer.expected)


def _on_found(transfer: Transfer, found: Residency | None, ports: Ports, cause: Decision | None = None) -> Outcome:
    """Act on the residency; a job that is over (`cause`) leaves a file that only has to reach tape."""
    now = ports.clock.now()
    since = datetime.fromisoformat(transfer.on_disk_since) if transfer.on_disk_since else now
    decision = on_residency(
        found,
        transfer.expected,
        waited=now - since,
        patience=timedelta(days=ports.settings.tape_patience_days),
        complaints=transfer.complaints,
    )
    if decision.act is Act.DONE and found is not None:
        return _completed(transfer, found, cause, ports)
    if decision.act is Act.MONITOR:
        complaints = transfer.complaints + 1 if found is not None and found.error else 0
        transfer = replace(
            transfer, phase="tape", on_disk_since=since.isoformat(), complaints=complaints, looks=transfer.looks + 1
        )
        said = cause.message if cause is not None and cause.message and cause.code != "on-disk" else decision.message
        return _waiting(transfer, now, ports, decision.code, said=said)
    if decision.act is Act.RESUBMIT and cause is not None and cause.message:
        decision = replace(decision, message=f"{cause.message}. {decision.message}")
    return _acted(transfer, decision, ports)


def _acted(transfer: Transfer, decision: Decision, ports: Ports) -> Outcome:
    now = ports.clock.now()
    if decision.alarm:
        log.error("%s: %s", decision.code, decision.message, extra={"archive": transfer.archive.id})
    if decision.act is Act.WAIT:
        return _waiting(replace(transfer, looks=transfer.looks + 1), now, ports, decision.code)
    if decision.act is Act.RESUBMIT and transfer.round < ports.settings.tape_attempts:
        return _next_round(transfer, decision, ports)
    if decision.act is Act.RESUBMIT:
        message = f"{decision.message} ({transfer.round} attempts)"
        return _blocked(transfer, replace(decision, message=message), now)
    return _blocked(transfer, decision, now)


def _next_round(transfer: Transfer, decision: Decision, ports: Ports) -> Outcome:
    now = ports.clock.now()
    event = attempt_failed(Told(transfer.archive, transfer.aip, now), decision, transfer.round, transfer.job)
    following = replace(transfer, phase="submit", round=transfer.round + 1, job=None, looks=0, on_disk_since=None)
    outcome = _waiting(following, now, ports, decision.code, said=decision.message)
    poll_at = next_look(now, transfer.round - 1, ports.settings.tape_poll_seconds, ports.settings.tape_poll_longest)
    return replace(outcome, events=(event,), poll_at=poll_at)


def _waiting(
    transfer: Transfer, now: datetime, ports: Ports, code: str, seconds: float | None = None, said: str = ""
) -> Outcome:
    first, longest = ports.settings.tape_poll_seconds, ports.settings.tape_poll_longest
    poll_at = now + timedelta(seconds=seconds) if seconds else next_look(now, transfer.looks, first, longest)
    output = {"tape": {"waiting_for": code, "job": transfer.job, "round": transfer.round}}
    return Outcome(
        StepState.WAITING,
        checkpoint=transfer.checkpoint(),
        poll_at=poll_at,
        output=output,
        findings=(Finding(code, said, "warning"),) if said else (),
    )


def _blocked(transfer: Transfer, decision: Decision, now: datetime) -> Outcome:
    event = attempt_failed(Told(transfer.archive, transfer.aip, now), decision, transfer.round, transfer.job)
    facts: tuple[Fact, ...] = ()
    if decision.check_source:
        request = {"package": str(transfer.aip.id), "location": "object-store"}
        facts = (Fact("org.perdura.fixity.requested.v1", request),)
    return Outcome(
        StepState.BLOCKED,
        error_code=decision.code,
        message=decision.message,
        findings=(Finding(decision.code, decision.message),),
        events=(event,),
        facts=facts,
        checkpoint=transfer.checkpoint(),
    )


def _completed(transfer: Transfer, found: Residency, cause: Decision | None, ports: Ports) -> Outcome:
    now = ports.clock.now()
    tape = ports.tape
    assert tape is not None
    uri = tape.uri(transfer.path)
    told = Told(transfer.archive, transfer.aip, now)
    already = cause is not None and cause.code == "already-archived"
    monitor = ports.settings.tape_status_url
    output: dict[str, Any] = {
        "uri": uri,
        "job": transfer.job,
        "round": transfer.round,
        "locality": "DISK_AND_TAPE" if found.on_disk else "TAPE",
    }
    if monitor and transfer.job:
        output["monitor"] = f"{monitor.rstrip('/')}/fts3/ftsmon/#/job/{transfer.job}"
    return Outcome(
        StepState.COMPLETED,
        copies=(Copy(transfer.aip.id, "tape", uri, transfer.aip.size, {"adler32": transfer.adler32}, now),),
        events=archived_events(told, uri, transfer.job, transfer.adler32, found, already=already),
        facts=(
            Fact(
                "org.perdura.aip.archived.v1",
                {
                    "archive": str(transfer.archive.id),
                    "package": str(transfer.aip.id),
                    "uri": uri,
                    "adler32": transfer.adler32,
                },
            ),
        ),
        output={"tape": output},
        checkpoint=transfer.checkpoint(),
    )
