"""The jobs of a unit, with the names, groups and link UUIDs that were recorded; its status follows from them (1.3)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

RECORDINGS = Path(__file__).parent / "recordings"
CREATE_SIP, REMOVE = "Create SIP from transfer objects", "Remove the processing directory"


@dataclass
class Job:
    """One job: begun, and what came of it."""

    name: str
    group: str
    link: str
    status: str
    begun: datetime
    tasks: list[tuple[str, int]] = field(default_factory=list)
    id: str = field(default_factory=lambda: str(uuid4()))
    task_ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.task_ids = [str(uuid4()) for _ in self.tasks]

    def document(self, *, detailed: bool) -> dict[str, Any]:
        """As `GET /jobs/` shows it."""
        tasks = []
        for task_id, (name, code) in zip(self.task_ids, self.tasks, strict=True):
            task: dict[str, Any] = {"uuid": task_id, "exit_code": code}
            if detailed:
                begun = self.begun.strftime("%Y-%m-%dT%H:%M:%S")
                task |= {"file_uuid": "", "file_name": name, "time_created": begun, "time_started": begun}
                task |= {"time_ended": begun, "duration": "< 1"}
            tasks.append(task)
        return {
            "uuid": self.id,
            "name": self.name,
            "status": self.status,
            "microservice": self.group,
            "link_uuid": self.link,
            "tasks": tasks,
        }


@cache
def recorded(stage: str) -> tuple[tuple[str, str, str], ...]:
    """(name, group, link) of the jobs of a good unit: `transfer` or `ingest`, of a zipped bag."""
    chosen: list[dict[str, Any]] = []
    for line in (RECORDINGS / "outcomes.jsonl").read_text().splitlines() + (
        RECORDINGS / "s3-runs.jsonl"
    ).read_text().splitlines():
        exchange = json.loads(line)
        if "/jobs/" not in exchange["url"] or exchange["status"] != 200 or exchange["request"].get("params"):
            continue
        jobs = json.loads(exchange["body"]) if exchange["body"].startswith("[") else []
        names = [job["name"] for job in jobs]
        last = CREATE_SIP if stage == "transfer" else REMOVE
        if last in names and not any(job["status"] == "FAILED" and "ail" in job["microservice"] for job in jobs):
            chosen = max(chosen, jobs, key=len)
    return tuple((job["name"], job["microservice"], job["link_uuid"]) for job in chosen)


def status_of(stage: str, jobs: list[Job], *, sip: str | None) -> tuple[str, str] | None:
    """(status, microservice) by the rules of archivematica.md 1.3; None without any job."""
    if not jobs:
        return None
    newest = jobs[-1]
    group = newest.group.lower()
    if newest.status == "USER_INPUT":
        return "USER_INPUT", newest.name
    if "failed" in group:
        return "FAILED", newest.name
    if "reject" in group:
        return "REJECTED", newest.name
    if stage == "ingest" and any(job.name == REMOVE for job in jobs):
        return "COMPLETE", newest.name
    if newest.name == REMOVE:
        return "COMPLETE", newest.name
    if any(job.name == CREATE_SIP for job in jobs):
        return ("COMPLETE" if sip else "PROCESSING"), newest.name
    return "PROCESSING", newest.name
