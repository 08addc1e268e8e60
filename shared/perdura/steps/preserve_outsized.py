"""Hands packages that are too large for the ten minutes of an invocation to a Job without such a limit.

The Job (infra/knative/components/outsized) runs this very step in a process with a longer time budget. Where there is
none, a package that does not fit ends by name.
"""

from __future__ import annotations

from datetime import timedelta

from perdura.errors import Broken
from perdura.outcome import ArchiveView, Fact, Finding, Outcome, PackageKind, StepState
from perdura.ports import Ports

REQUESTED = "org.perdura.preserve.outsized.requested.v1"
KEY = "handed_over"
"""How often the step was handed to a Job, in its checkpoint."""

TIMES = 3
_PATIENCE = timedelta(hours=25)
"""A Job has a day: what it did not finish by then died with it."""


def has_job(ports: Ports) -> bool:
    """Whether there is a Job for such packages, and this is not it."""
    return ports.settings.outsized_bytes > 0


def is_outsized(archive: ArchiveView, ports: Ports) -> bool:
    """Whether the SIP is so large that an invocation need not even try."""
    sip = archive.package(PackageKind.SIP)
    return has_job(ports) and sip is not None and sip.size > ports.settings.outsized_bytes


def hand_over(archive: ArchiveView, ports: Ports) -> Outcome:
    """Ask for a Job and wait for it; raises Broken when several of them did not finish the step."""
    times = int(archive.step.checkpoint.get(KEY, 0))
    if times >= TIMES:
        raise Broken(f"{times} Jobs for large packages did not finish this one.", code="outsized-not-done")
    data = {"archive": str(archive.id), "step": str(archive.step.id), "attempt": archive.step.attempt}
    return Outcome(
        StepState.WAITING,
        checkpoint={**archive.step.checkpoint, KEY: times + 1},
        poll_at=ports.clock.now() + _PATIENCE,
        facts=(Fact(REQUESTED, data),),
        findings=(Finding("outsized", "A Job without the time limit of an invocation does this package.", "warning"),),
    )


def look_again(archive: ArchiveView) -> Outcome | None:
    """Try anew what a Job did not finish in its time; None for a step that was not handed to one."""
    if KEY not in archive.step.checkpoint:
        return None
    return Outcome(StepState.QUEUED, checkpoint=archive.step.checkpoint)
