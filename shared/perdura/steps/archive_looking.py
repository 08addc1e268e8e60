"""One look at AIPs on their way to tape: what FTS says of their jobs, and what the tape endpoint says is there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from perdura.clients.fts_answers import INTERNAL
from perdura.errors import PerduraError, Retryable
from perdura.outcome import Outcome, StepState
from perdura.ports import Ports, Residency, TapeAccount, TapeJob, TapeJobs, TapeSystem
from perdura.steps.archive_decisions import (
    COPY_DAMAGED,
    JOB_WITHHELD,
    Act,
    Decision,
    damaged_again,
    on_job,
    on_residency,
)
from perdura.steps.archive_outcomes import asked_again, blocked, completed, next_round, waiting
from perdura.steps.archive_transfer import Transfer

log = logging.getLogger(__name__)
OTHER_ACCOUNT = "other-fts-account"
NO_SECOND_JOB = frozenset({OTHER_ACCOUNT, JOB_WITHHELD})
"""Why a job that we cannot see may be alive: no other is asked for by a machine alone."""


def looked(
    transfers: Sequence[Transfer], tape: TapeSystem, jobs: TapeJobs, ports: Ports, *, quick: bool = False
) -> list[Outcome]:
    """One look at each: jobs in bulk, then the residency of those whose job is not all that counts.

    A `quick` look, right after the submission, writes down only what is over.
    """
    if not transfers:
        return []
    keys = {transfer.job: transfer.job_key for transfer in transfers if transfer.phase == "job" and transfer.job}
    cancelled = {} if quick else _wishes(keys, tape, jobs, ports)
    found = tape.jobs(list(keys), ports.deadline) if keys else {}
    transfers = [_with_retries(transfer, found.get(transfer.job or ""), tape, jobs, ports) for transfer in transfers]
    account = tape.account() if any(job.state == "unknown" for job in found.values()) else None
    decisions = [_decided(transfer, found, cancelled, account) for transfer in transfers]
    asked = {t.path for t, d in zip(transfers, decisions, strict=True) if d.act in (Act.INSPECT, Act.MONITOR)}
    there = tape.residency(sorted(asked), ports.deadline) if asked else {}
    outcomes = [
        on_found(transfer, there.get(transfer.path), tape, ports, decision)
        if decision.act in (Act.INSPECT, Act.MONITOR)
        else _acted(transfer, decision, ports)
        for transfer, decision in zip(transfers, decisions, strict=True)
    ]
    over = [t.job_key for t, outcome in zip(transfers, outcomes, strict=True) if not _goes_on(t, outcome)]
    if over or not quick:
        jobs.seen({keys[job]: state for job, state in found.items()}, over)
    return outcomes


def _with_retries(transfer: Transfer, job: TapeJob | None, tape: TapeSystem, jobs: TapeJobs, ports: Ports) -> Transfer:
    """Keep the attempts that failed since the look before: the tape system forgets them some days after the job."""
    if job is None or job.retries <= transfer.retries or ports.deadline.near():
        return transfer
    try:
        jobs.tried(transfer.job_key, tape.retries(job))
    except PerduraError as error:
        log.warning("failed attempts of a job: %s", error.message, extra={"archive": transfer.archive.id})
        return transfer
    return replace(transfer, retries=job.retries)


def _goes_on(transfer: Transfer, outcome: Outcome) -> bool:
    """Whether the transfer's job is still to be followed."""
    checkpoint = outcome.checkpoint or {}
    same = checkpoint.get("phase") == "job" and checkpoint.get("job") == transfer.job
    return outcome.state is StepState.WAITING and same


def _wishes(keys: Mapping[str, str], tape: TapeSystem, jobs: TapeJobs, ports: Ports) -> dict[str, str]:
    """Do what people asked of these jobs, while there is time; gives back by whom jobs were cancelled, by job id.

    What cannot be done is asked for again at the next look, and hinders nothing of this one.
    """
    wishes = jobs.wishes(list(keys.values())) if keys else {}
    wished = {job: wishes[key] for job, key in keys.items() if key in wishes}
    for job, wish in wished.items():
        if wish.priority is not None and wish.cancelled_by is None and not ports.deadline.near():
            try:
                tape.set_priority([job], wish.priority)
            except PerduraError as error:
                log.warning("the priority of job %s is not changed: %s", job, error.message)
                if isinstance(error, Retryable) and error.code != INTERNAL:
                    break
                continue
            jobs.granted(keys[job])
    cancelled = {job: wish.cancelled_by for job, wish in wished.items() if wish.cancelled_by is not None}
    if cancelled:
        try:
            tape.cancel(list(cancelled), ports.deadline)
        except PerduraError as error:
            log.warning("jobs are not cancelled: %s", error.message)
    return cancelled


def _decided(
    transfer: Transfer, jobs: Mapping[str, TapeJob], cancelled: Mapping[str, str], account: TapeAccount | None
) -> Decision:
    if transfer.phase == "tape":
        return Decision(Act.MONITOR, "on-disk")
    asked = transfer.job or ""
    job = jobs.get(asked) or TapeJob(asked, "unknown")
    if job.state == "cancelled" and asked in cancelled:
        message = f"{cancelled[asked]} cancelled the job; what was copied before may still reach tape"
        return Decision(Act.OPERATOR, "cancelled-on-request", message)
    if job.state == "unknown" and account is not None and transfer.account not in (None, account):
        return _elsewhere(transfer, account)
    return on_job(job, transfer.expected)


def _elsewhere(transfer: Transfer, account: TapeAccount) -> Decision:
    """A job that was asked of another server, or under another name, is not one that is gone."""
    before = transfer.account or account
    message = (
        f"FTS job {transfer.job} was asked of {before.server} as {before.holder}; we now speak to {account.server} as "
        f"{account.holder}. A second job could run beside it: name that server and certificate again, or see that the "
        "job is over and retry"
    )
    return Decision(Act.INSPECT, OTHER_ACCOUNT, message)


def on_found(
    transfer: Transfer, found: Residency | None, tape: TapeSystem, ports: Ports, cause: Decision | None = None
) -> Outcome:
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
        already = cause is not None and cause.code in ("already-archived", "destination-exists")
        return completed(transfer, found, already or transfer.job is None, tape, ports)
    if decision.act is Act.MONITOR:
        complaints = transfer.complaints + 1 if found is not None and found.error else 0
        transfer = replace(
            transfer, phase="tape", on_disk_since=since.isoformat(), complaints=complaints, looks=transfer.looks + 1
        )
        said = cause.message if cause is not None and cause.message and cause.code != "on-disk" else decision.message
        return waiting(transfer, now, ports, decision.code, said=said)
    if decision.act is Act.RESUBMIT and cause is not None and cause.code in NO_SECOND_JOB:
        return _acted(transfer, Decision(Act.OPERATOR, cause.code, cause.message, alarm=True), ports)
    if decision.act is Act.RESUBMIT and cause is not None and cause.code == "job-unknown" and not transfer.asked_again:
        return asked_again(transfer, cause, now, ports)
    if decision.act is Act.RESUBMIT and cause is not None and cause.message:
        decision = replace(decision, message=f"{cause.message}. {decision.message}")
    return _acted(transfer, decision, ports)


def _acted(transfer: Transfer, decision: Decision, ports: Ports) -> Outcome:
    now = ports.clock.now()
    if decision.code == COPY_DAMAGED:
        last = transfer.round >= ports.settings.tape_attempts
        decision = damaged_again(decision) if transfer.damaged or last else decision
        transfer = replace(transfer, damaged=transfer.damaged + 1)
    if decision.alarm:
        log.error("%s: %s", decision.code, decision.message, extra={"archive": transfer.archive.id})
    if decision.act is Act.WAIT:
        return waiting(replace(transfer, looks=transfer.looks + 1), now, ports, decision.code, said=decision.message)
    if decision.act is Act.RESUBMIT and transfer.round < ports.settings.tape_attempts:
        return next_round(transfer, decision, now, ports)
    if decision.act is Act.RESUBMIT:
        message = f"{decision.message} ({transfer.round} attempts)"
        return blocked(transfer, replace(decision, message=message), now)
    return blocked(transfer, decision, now)
