"""Asking the tape system for copies: noted before it is asked, within the limit of jobs in flight, at most once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from perdura.clients.fts_answers import BANNED, INTERNAL, FtsUnreached
from perdura.errors import PerduraError, Retryable, UpstreamUnavailable
from perdura.outcome import Outcome
from perdura.ports import OpenJob, Ports, TapeJobs, TapeOrder, TapeRequest, TapeSystem
from perdura.steps.archive_decisions import Act, Decision
from perdura.steps.archive_outcomes import blocked, waiting
from perdura.steps.archive_source import reading_of
from perdura.steps.archive_transfer import Transfer

log = logging.getLogger(__name__)
REPEATED = 8
"""Looks in vain after which a submission that FTS only answers with 500 is shown to a person (fts-cta.md 2.7)."""
SETTLED_SECONDS = 300.0
"""Seconds after which what FTS does not have will not come of a request that was sent before."""
PAUSED_SECONDS = 60.0
"""How long a transfer waits that may not be submitted now."""


class TooSlow(UpstreamUnavailable):
    """The time of a look was over before all were asked for."""

    code = "tape-slow"

    def __init__(self) -> None:
        super().__init__("The tape system is too slow for all in one look.")


class AskedJustNow(UpstreamUnavailable):
    """What FTS was asked for may be about to begin."""

    code = "tape-asked-just-now"


def submit(transfer: Transfer, tape: TapeSystem, jobs: TapeJobs, ports: Ports) -> Transfer | None:
    """Note the order, ask for the job, note the answer; None when nothing may be submitted now (`held_back` says why).

    What was asked of another server or under another name, or when FTS had us in another VO, and may be there although
    its answer was lost, is not asked for here: it counts as the job that it may be. What is refused is over, unless it
    was asked for before and may be there. Raises what the tape system raises, and AskedJustNow; whoever asks again for
    the same round gets the same job.
    """
    settings = ports.settings
    source = reading_of(transfer, ports)
    account = tape.account()
    order = TapeOrder(
        key=transfer.job_key,
        path=transfer.path,
        size=transfer.size,
        priority=settings.tape_priority,
        archive=transfer.archive.id if transfer.slot is None else None,
        container=transfer.slot.container if transfer.slot else None,
        account=account,
        job_id=tape.job_id(transfer.job_key),
    )
    noted = None if settings.tape_paused else jobs.admit(order, settings.tape_jobs_in_flight)
    if noted is None:
        return None
    if noted.account not in (None, account):
        job = noted.job_id or noted.asked_as or order.job_id
        return replace(transfer, phase="job", job=job, account=noted.account, looks=0)
    if noted.asked_as not in (None, order.job_id):
        if _may_be_there(noted, tape):
            return replace(transfer, phase="job", job=noted.asked_as, account=account, looks=0)
        jobs.asked_anew(order)
    metadata = {"archive": str(transfer.archive.id), "aip": str(transfer.aip.id), "round": str(transfer.round)}
    if transfer.slot is not None:
        metadata = {"container": str(transfer.slot.container), "round": str(transfer.round)}
    request = TapeRequest(
        job_key=transfer.job_key,
        source_url=source.url,
        destination_path=transfer.path,
        size=transfer.size,
        adler32=transfer.adler32,
        metadata=metadata,
        source_token=source.token,
        verify_source=source.tells_checksum,
        priority=settings.tape_priority,
    )
    try:
        job = tape.submit(request)
    except FtsUnreached:
        if not noted.asked_before:
            jobs.unasked(order)
        raise
    except Retryable:
        raise
    except PerduraError:
        if not noted.asked_before:
            jobs.ended([transfer.job_key])
        elif (noted.asked_ago or 0) >= SETTLED_SECONDS:
            given_up(transfer, tape, jobs)
        raise
    jobs.accepted(transfer.job_key, job, account)
    return replace(transfer, phase="job", job=job, account=account, looks=0)


def _may_be_there(noted: OpenJob, tape: TapeSystem) -> bool:
    """Whether FTS has, or does not say that it has not, the job that was asked for when it had us in another VO.

    Raises AskedJustNow when it has none, but may still be at work at a request that never was answered.
    """
    asked_as = str(noted.asked_as)
    if tape.jobs([asked_as])[asked_as].state != "unknown":
        return True
    if noted.asked_ago is None or noted.asked_ago < SETTLED_SECONDS:
        raise AskedJustNow(
            f"FTS takes us for another than when it was asked for the job {asked_as}, which may be to come; another "
            "is asked for when it is not there a while after"
        )
    return False


def given_up(transfer: Transfer, tape: TapeSystem, jobs: TapeJobs) -> None:
    """Note that a job which may have been stored before is asked for no more, where FTS says that it has none.

    Else it stays open in the register: it may be alive, and a retry follows it instead of asking for another.
    """
    try:
        job = tape.job_id(transfer.job_key)
        state = tape.jobs([job])[job].state
    except PerduraError as error:
        log.warning("whether FTS has the job is not known: %s", error.message, extra={"archive": transfer.archive.id})
        return
    if state == "unknown":
        jobs.ended([transfer.job_key])


def held_back(transfer: Transfer, jobs: TapeJobs, ports: Ports) -> Outcome:
    """The outcome of a transfer that may not be submitted now: the destination is paused, or has enough to do."""
    now = ports.clock.now()
    reason = "paused by PERDURA_TAPE_PAUSED" if ports.settings.tape_paused else jobs.paused()
    if reason is not None:
        return waiting(transfer, now, ports, "tape-paused", PAUSED_SECONDS, said=reason)
    return waiting(transfer, now, ports, "tape-busy", ports.settings.tape_poll_seconds or None)


def stopped(transfer: Transfer, error: PerduraError, jobs: TapeJobs, ports: Ports) -> Outcome:
    """The outcome when FTS has banned us: nothing more is submitted until a person resumes; everything waits."""
    log.error("%s: %s", error.code, error.message, extra={"archive": transfer.archive.id})
    jobs.stop(error.message)
    return held_back(transfer, jobs, ports)


def submit_all(transfers: Sequence[Transfer], tape: TapeSystem, jobs: TapeJobs, ports: Ports) -> list[Outcome]:
    """Submit the rounds that checkpoints announced, one outcome each.

    AIPs of one container share one job, asked for once. Where the tape system does not answer, or time is over, the
    others are not tried either: they wait for the next look. What it refuses is shown to a person.
    """
    now = ports.clock.now()
    unavailable: PerduraError | None = None
    asked: dict[str, Transfer | PerduraError] = {}
    outcomes: list[Outcome] = []
    for transfer in transfers:
        if unavailable is None and ports.deadline.near():
            unavailable = TooSlow()
        if unavailable is not None:
            outcomes.append(waiting(transfer, now, ports, unavailable.code))
            continue
        try:
            other = asked.get(transfer.job_key)
            submitted = _together(transfer, other) if other else submit(transfer, tape, jobs, ports)
        except Retryable as error:
            asked[transfer.job_key] = error
            alone = error.code in (INTERNAL, AskedJustNow.code) or not isinstance(error, UpstreamUnavailable)
            unavailable = None if alone else error
            outcomes.append(_again_later(transfer, error, tape, jobs, ports))
            continue
        except PerduraError as error:
            asked[transfer.job_key] = error
            if error.code == BANNED:
                outcomes.append(stopped(transfer, error, jobs, ports))
                continue
            outcomes.append(blocked(transfer, Decision(Act.OPERATOR, error.code, error.message), now))
            continue
        if submitted is None:
            outcomes.append(held_back(transfer, jobs, ports))
            continue
        asked[transfer.job_key] = submitted
        outcomes.append(waiting(submitted, now, ports, "submitted"))
    return outcomes


def _together(transfer: Transfer, other: Transfer | PerduraError) -> Transfer:
    """An AIP whose container another one has just asked for; raises what that one was told."""
    if isinstance(other, PerduraError):
        raise other
    return replace(transfer, phase="job", job=other.job, account=other.account, looks=0)


def _again_later(transfer: Transfer, error: Retryable, tape: TapeSystem, jobs: TapeJobs, ports: Ports) -> Outcome:
    """Asked for again with the same key, however long it lasts; but what only ever ends in a 500 is not FTS's alone."""
    now = ports.clock.now()
    if error.code != INTERNAL or transfer.looks < REPEATED:
        return waiting(replace(transfer, looks=transfer.looks + 1), now, ports, error.code, said=error.message)
    given_up(transfer, tape, jobs)
    message = (
        f"FTS fails at this submission again and again ({transfer.looks + 1} times): {error.message} "
        "See its log, and whether address, checksum or metadata are more than it can store."
    )
    return blocked(transfer, Decision(Act.OPERATOR, error.code, message, alarm=True), now)
