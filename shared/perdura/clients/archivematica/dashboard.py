"""Archivematica's dashboard: starting transfers, and what became of them (archivematica.md 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import UUID

from lxml import etree

from perdura.clients.archivematica.exchange import POST_SECONDS, Exchange, Reply
from perdura.fleet import (
    Ambiguous,
    ArchivematicaRefused,
    ArchivematicaUnavailable,
    FailedJob,
    NotSent,
    Probe,
    Stage,
    Start,
    StillPending,
    Unit,
    UnitState,
)

LONGEST_LIST = 32 * 2**20
"""Bytes of a job list without details that are read: some 500,000 tasks."""
SHOWN = 300
"""Characters of a name or a text of Archivematica that are kept."""
TASKS_TOLD = 50
"""Failed tasks of a job whose files are told."""
REFUSED_WITHIN = 10.0
"""Seconds within which `Package cannot be created` means that nothing was created (1.2)."""


class Dashboard:
    """The API of one dashboard."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def probe(self) -> Probe:
        """Version and identity; also proves the key. Raises as `Exchange.ask`."""
        reply = self._exchange.raw("GET", "/api/v2beta/package/")
        version = reply.headers.get("x-archivematica-version")
        if reply.status >= 500 and version is None:
            raise ArchivematicaUnavailable(f"Archivematica answered {reply.status}. {reply.said()}".strip())
        if version is None:
            raise ArchivematicaUnavailable(f"What answers at {self._exchange.url} is no Archivematica dashboard.")
        return Probe(version, reply.headers.get("x-archivematica-id", ""))

    def start(self, start: Start, key: str) -> UUID:
        """Start a transfer under the idempotency key `key`; gives back its id.

        Raises NotSent and ArchivematicaRefused when nothing was started, Ambiguous when that cannot be known.
        """
        try:
            reply = self._exchange.raw(
                "POST",
                "/api/v2beta/package/",
                json=start.body(),
                headers={"Idempotency-Key": key},
                timeout=POST_SECONDS,
            )
        except NotSent:
            raise
        except ArchivematicaUnavailable as error:
            raise Ambiguous(f"It is not known whether the transfer was started: {error.message}") from error
        return self._started(reply)

    def _started(self, reply: Reply) -> UUID:
        said = reply.said()
        if reply.status == 202:
            try:
                return UUID(str(reply.document()["id"]))
            except (ArchivematicaUnavailable, KeyError, TypeError, ValueError) as error:
                raise Ambiguous("A transfer was started, but the answer does not say which.") from error
        if reply.status == 409:
            raise StillPending(f"The same request is still being worked on. {said}".strip())
        if reply.status == 500 and said == "Package cannot be created" and reply.took < REFUSED_WITHIN:
            raise ArchivematicaRefused("Archivematica says: Package cannot be created.", 500)
        if reply.status >= 500 or reply.status < 400:
            raise Ambiguous(f"Archivematica answered {reply.status} to a new transfer. {said}".strip())
        raise ArchivematicaRefused(f"Archivematica refuses the transfer ({reply.status}). {said}".strip(), reply.status)

    def status(self, stage: Stage, unit: UUID) -> Unit:
        """State of a unit; raises ArchivematicaUnavailable, ArchivematicaRefused."""
        reply = self._exchange.ask("GET", f"/api/{stage}/status/{unit}/")
        if reply.status == 400:
            return Unit(UnitState.UNKNOWN if "Cannot fetch" in reply.said() else UnitState.NO_STATUS)
        if reply.status != 200:
            raise ArchivematicaUnavailable(f"Archivematica answered {reply.status} to a status call.")
        found = reply.document()
        try:
            state = UnitState(found["status"])
            microservice, sip = str(found.get("microservice") or ""), _sip(found.get("sip_uuid"))
        except (KeyError, TypeError, ValueError) as error:
            raise ArchivematicaUnavailable("Archivematica's status cannot be understood.") from error
        return Unit(state, microservice[:SHOWN], sip, str(found.get("name") or "")[:SHOWN])

    def failed_jobs(self, unit: UUID) -> tuple[FailedJob, ...]:
        """Jobs of a unit that failed, with the first of their failed tasks; empty when there are no jobs at all.

        Raises AnswerTooLong.
        """
        reply = self._exchange.ask("GET", f"/api/v2beta/jobs/{unit}/", largest=LONGEST_LIST)
        if reply.status == 400:
            return ()
        jobs = [job for job in _listed(reply.document(_failed_only)) if job.get("status") == "FAILED"]
        try:
            return tuple(self._failed_job(job) for job in jobs)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArchivematicaUnavailable("Archivematica's list of jobs cannot be understood.") from error

    def _failed_job(self, job: Mapping[str, Any]) -> FailedJob:
        failed = [task for task in job.get("tasks") or () if task is not None and isinstance(task["exit_code"], int)]
        tasks = tuple((self._file_of(str(task["uuid"])), int(task["exit_code"])) for task in failed[:TASKS_TOLD])
        name, group = str(job.get("name"))[:SHOWN], str(job.get("microservice"))[:SHOWN]
        return FailedJob(UUID(str(job["uuid"])), name, group, tasks)

    def failed_tasks(self, unit: UUID, job: str, most: int) -> tuple[tuple[str, ...], int]:
        """Files whose task in the jobs of that name failed, at most so many, and how many they are in all.

        The list is asked for without details, which are ten times as long, and those of each failed task by
        itself. A failed job that names no task counts as one file without a name. Raises AnswerTooLong.
        """
        path, params = f"/api/v2beta/jobs/{unit}/", {"name": job}
        reply = self._exchange.ask("GET", path, params=params, largest=LONGEST_LIST)
        if reply.status == 400:
            return (), 0
        failed: list[str | None] = []
        for each in _listed(reply.document(_failed_only)):
            if each.get("status") == "FAILED":
                failed += [str(task["uuid"]) for task in each.get("tasks") or () if task is not None] or [None]
        return tuple(self._file_of(task) if task else "" for task in failed[:most]), len(failed)

    def _file_of(self, task: str) -> str:
        found = self._exchange.ask("GET", f"/api/v2beta/task/{quote(task, safe='')}").document()
        return str(found.get("file_name") or "")[:SHOWN] if isinstance(found, dict) else ""

    def waiting(self) -> Mapping[str, tuple[UUID, str]]:
        """Units that wait for a person: name → (id, question); that of a zip without its suffix."""
        found = self._exchange.ask("GET", "/api/ingest/waiting").document()
        listed = _listed(found.get("results") if isinstance(found, dict) else None)
        return {
            _unpacked(str(each.get("sip_name"))): (unit, str(each.get("microservice")))
            for each in listed
            if (unit := _uuid(each.get("sip_uuid"))) is not None
        }

    def configurations(self) -> Sequence[str]:
        """Names of the processing configurations that are there."""
        found = self._exchange.ask("GET", "/api/processing-configuration/").document()
        names = found.get("processing_configurations") if isinstance(found, dict) else None
        if not isinstance(names, list):
            raise ArchivematicaUnavailable("Archivematica's answer cannot be understood.")
        return [str(name) for name in names]

    def choices(self, configuration: str) -> Mapping[str, str]:
        """What a processing configuration decides: id of the question → id of the choice (1.6)."""
        reply = self._exchange.ask("GET", f"/api/processing-configuration/{configuration}", headers={"Accept": "*/*"})
        if reply.status != 200:
            raise ArchivematicaRefused(f"Archivematica does not show the configuration: {reply.said()}", reply.status)
        return _choices(reply.body)

    def hide(self, stage: Stage, unit: UUID) -> None:
        """Take a finished unit out of the dashboard's lists; that it was hidden before is as good."""
        self._exchange.ask("DELETE", f"/api/{stage}/{unit}/delete/")


def _sip(found: object) -> str | None:
    """Its id, or the word BACKLOG; raises ValueError for anything else."""
    if not found:
        return None
    return "BACKLOG" if found == "BACKLOG" else str(UUID(str(found)))


def _uuid(found: object) -> UUID | None:
    """An id; None for what is none."""
    try:
        return UUID(str(found))
    except ValueError:
        return None


def _failed_only(found: dict[str, Any]) -> dict[str, Any] | None:
    """None in the place of a task that did not fail: a hundred thousand of them are not held."""
    if "tasks" not in found and found.get("exit_code") == 0:
        return None
    return found


def _choices(body: bytes) -> Mapping[str, str]:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise ArchivematicaUnavailable("Archivematica's processing configuration cannot be read.") from error
    return {
        (each.findtext("appliesTo") or "").strip(): (each.findtext("goToChain") or "").strip()
        for each in root.iter("preconfiguredChoice")
    }


def _unpacked(name: str) -> str:
    """The name that a unit will have: as long as it waits for approval it has that of its file (1.7)."""
    return next((name.removesuffix(each) for each in (".zip", ".tar.gz") if name.endswith(each)), name)


def _listed(found: object) -> list[Mapping[str, Any]]:
    if not isinstance(found, list):
        raise ArchivematicaUnavailable("Archivematica's answer cannot be understood.")
    return [each for each in found if isinstance(each, dict)]
