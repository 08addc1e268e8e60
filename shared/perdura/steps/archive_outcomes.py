"""The outcomes of archiving to tape: waiting, another round, a person has to decide, on tape."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from perdura.outcome import Copy, Fact, Finding, Outcome, StepState
from perdura.ports import Ports, Residency, TapeSystem
from perdura.steps.archive_decisions import Decision, next_look
from perdura.steps.archive_events import Told, archived_events, attempt_failed
from perdura.steps.archive_transfer import Transfer


def waiting(
    transfer: Transfer, now: datetime, ports: Ports, code: str, seconds: float | None = None, said: str = ""
) -> Outcome:
    """Look again later: after `seconds`, or when the doubling interval says so."""
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


def next_round(transfer: Transfer, decision: Decision, now: datetime, ports: Ports) -> Outcome:
    """Another job, announced in the checkpoint and submitted at the next look; the one before stays in the log."""
    event = attempt_failed(Told(transfer.archive, transfer.aip, now), decision, transfer.round, transfer.job)
    following = replace(
        transfer,
        phase="submit",
        round=transfer.round + 1,
        job=None,
        looks=0,
        on_disk_since=None,
        retries=0,
        asked_again=False,
        adopted=None,
    )
    outcome = waiting(following, now, ports, decision.code, said=decision.message)
    poll_at = next_look(now, transfer.round - 1, ports.settings.tape_poll_seconds, ports.settings.tape_poll_longest)
    return replace(outcome, events=(event,), facts=_suspicion(transfer, decision), poll_at=poll_at)


def asked_again(transfer: Transfer, decision: Decision, now: datetime, ports: Ports) -> Outcome:
    """The same job once more: an FTS that has it after all says so, one that lost it makes it anew under its id."""
    same = replace(transfer, phase="submit", job=None, looks=0, asked_again=True)
    return waiting(same, now, ports, decision.code, said=decision.message)


def blocked(transfer: Transfer, decision: Decision, now: datetime) -> Outcome:
    """A person has to decide; where our own copy is under suspicion, a fixity check of it is asked for."""
    event = attempt_failed(Told(transfer.archive, transfer.aip, now), decision, transfer.round, transfer.job)
    return Outcome(
        StepState.BLOCKED,
        error_code=decision.code,
        message=decision.message,
        findings=(Finding(decision.code, decision.message),),
        events=(event,),
        facts=_suspicion(transfer, decision),
        checkpoint=transfer.checkpoint(),
    )


def _suspicion(transfer: Transfer, decision: Decision) -> tuple[Fact, ...]:
    """A fixity check of our own copy, where that is under suspicion."""
    if not decision.check_source:
        return ()
    return (Fact("org.perdura.fixity.requested.v1", {"package": str(transfer.aip.id), "location": "object-store"}),)


def completed(transfer: Transfer, found: Residency, already: bool, tape: TapeSystem, ports: Ports) -> Outcome:
    """On tape, as the tape endpoint itself says; `already`: the file was there before this job."""
    now = ports.clock.now()
    file_uri = tape.uri(transfer.path)
    uri = file_uri + transfer.fragment
    told = Told(transfer.archive, transfer.aip, now)
    monitor = ports.settings.tape_status_url
    output: dict[str, Any] = {
        "uri": uri,
        "job": transfer.job,
        "round": transfer.round,
        "locality": "DISK_AND_TAPE" if found.on_disk else "TAPE",
    }
    if transfer.slot is not None:
        output["container"] = str(transfer.slot.container)
    if monitor and transfer.job:
        output["monitor"] = f"{monitor.rstrip('/')}/fts3/ftsmon/#/job/{transfer.job}"
    own = transfer.adler32 if transfer.slot is None else transfer.aip.checksums["adler32"]
    return Outcome(
        StepState.COMPLETED,
        copies=(Copy(transfer.aip.id, "tape", uri, transfer.aip.size, {"adler32": own}, now),),
        events=archived_events(told, file_uri, transfer, found, already=already),
        facts=(
            Fact(
                "org.perdura.aip.archived.v1",
                {
                    "archive": str(transfer.archive.id),
                    "package": str(transfer.aip.id),
                    "uri": uri,
                    "adler32": own,
                },
            ),
        ),
        output={"tape": output},
        checkpoint=transfer.checkpoint(),
    )
