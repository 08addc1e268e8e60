"""PREMIS events of what failed within an Archivematica, by job (archivematica.md 6.3)."""

from __future__ import annotations

from perdura.fleet import FailedJob, Submission
from perdura.ids import derived_id
from perdura.outcome import ArchiveView, PackageKind
from perdura.ports import Ports
from perdura.premis.model import FAILURE, Event, Identifier, Outcome

_TYPES = (
    ("Scan for viruses", "virus check"),
    ("Verify bag", "fixity check"),
    ("Extract", "unpacking"),
    ("Validate", "validation"),
    ("Normalize", "normalization"),
    ("Identify", "format identification"),
)
_TASKS = 100


def archivematica_agent(version: str) -> Identifier:
    """An Archivematica as the executing agent of an event."""
    return Identifier("preservation system", version, ("executing program",))


def failed_events(
    archive: ArchiveView, submission: Submission, jobs: tuple[FailedJob, ...], ports: Ports
) -> tuple[Event, ...]:
    """One event a failed job, with the files whose tasks failed; the same job always gives the same event."""
    sip = archive.package(PackageKind.SIP)
    about = (Identifier("UUID", str(archive.id)), *((Identifier("UUID", str(sip.id)),) if sip else ()))
    return tuple(
        Event(
            id=derived_id("archivematica job", archive.step.id, job.id),
            type=next(
                (kind for beginning, kind in _TYPES if job.name.startswith(beginning)), "information package creation"
            ),
            at=ports.clock.now(),
            details=(f"Archivematica {submission.instance}: {job.group}: {job.name}",),
            outcomes=(
                Outcome(
                    FAILURE,
                    tuple(f"{name or 'task'}: exit code {code}" for name, code in job.tasks[:_TASKS])
                    or ("the job failed without a failed task",),
                ),
            ),
            agents=(archivematica_agent(f"Archivematica {submission.instance}"),),
            objects=about,
        )
        for job in jobs
    )
