"""Which files Archivematica could not normalise: a warning of an AIP that is good (archivematica.md 1.4, 6.3)."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from perdura.fleet import AnswerTooLong, Archivematica, ArchivematicaUnavailable
from perdura.outcome import Finding

JOBS = ("Normalize for preservation", "Normalize for access", "Normalize for thumbnails")
MOST = 100
"""Files that are named for each of these jobs; how many there are beyond is told."""


def not_normalised(sip: UUID, archivematica: Archivematica, *, patient: bool) -> Sequence[Finding]:
    """A finding for each file, at most `MOST` of a job and one that says how many more.

    Raises ArchivematicaUnavailable while `patient`; else that nobody could be asked is a finding too, as it always is
    where the list is too long to be read: an AIP is not lost for that.
    """
    found: list[Finding] = []
    for job in JOBS:
        try:
            names, count = archivematica.failed_tasks(sip, job, MOST)
        except ArchivematicaUnavailable as error:
            if patient and not isinstance(error, AnswerTooLong):
                raise
            message = f"Which files failed in '{job}' is not known here: {error.message}"
            found.append(Finding("normalisation-unknown", message, "warning"))
            continue
        found += [
            Finding("not-normalised", f"{name or 'a file'}: {job} failed in Archivematica.", "warning", name or None)
            for name in names
        ]
        if count > len(names):
            message = f"{count - len(names)} more files: {job} failed in Archivematica."
            found.append(Finding("not-normalised", message, "warning"))
    return found
