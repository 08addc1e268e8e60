"""What the REST interface shows of jobs and files: projections, lists, filters (fts-cta.md 2.9, 2.10, 2.13)."""

from __future__ import annotations

from typing import Any

from perdura.local.tape import clock
from perdura.local.tape.clock import moment
from perdura.local.tape.fts.identity import Identity
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.problems import Refused
from perdura.local.tape.fts.submission import Row
from perdura.local.tape.http import Request

MOST_JOBS = 500
MOST_FILES = 1000
NOT_IN_BACKUP = frozenset({
    "activity", "priority", "vo_name", "log_file", "log_debug", "hashed_id", "dest_surl_uuid", "src_token_id",
    "dst_token_id", "file_state_initial", "recoverable",
})  # fmt: skip


def versions(api: tuple[int, int, int]) -> Row:
    """The answer of `GET /`."""

    def link(href: str, title: str, **more: Any) -> Row:
        return {"href": href, "title": title, **more}

    major, minor, patch = api
    return {
        "delegation": {"major": 1, "minor": 0, "patch": 0},
        "api": {"major": major, "minor": minor, "patch": patch},
        "core": None,
        "schema": {"major": 9, "minor": 1, "patch": 0},
        "_links": {
            "curies": [{"name": "fts", "href": "https://gitlab.cern.ch/fts/fts3"}],
            "fts:whoami": link("/whoami", "Check user certificate"),
            "fts:joblist": link("/jobs{?vo_name,user_dn,dlg_id,state_in}", "List of active jobs", templated=True),
            "fts:job": link("/jobs/{id}", "Job information", templated=True, hints={"allow": ["GET", "DELETE"]}),
            "fts:configaudit": link("/config/audit", "Configuration"),
            "fts:submitschema": link("/api-docs/schema/submit", "JSON schema of messages"),
            "fts:apidocs": link("/api-docs/", "API Documentation"),
            "fts:jobsubmit": {
                "href": "/jobs",
                "hints": {"allow": ["POST"], "representations": ["fts:submitschema"]},
            },
            "fts:optimizer": link("/optimizer/", "Optimizer"),
            "fts:archive": link("/archive/", "Archive"),
        },
    }


def job(ledger: Ledger, row: Row, asked: Request) -> Row:
    """One job, with the file fields that `?files=` names."""
    shown = {**row, "http_status": "200 Ok"}
    wanted = asked.argument("files")
    if wanted is not None:
        names = [name for name in wanted.split(",") if name]
        shown["files"] = [{name: file[name] for name in names if name in file} for file in ledger.files(row["job_id"])]
    return shown


def field(row: Row, name: str) -> Any:
    """One field of a job; raises Refused."""
    if name not in row:
        raise Refused(404, "No such field")
    return row[name]


def archived(row: Row) -> Row:
    """A job of the backup as `/archive/{id}` shows it."""
    shown = {key: value for key, value in row.items() if key not in ("retry_delay", "os_project_id")}
    shown["files"] = [
        {key: value for key, value in file.items() if key not in NOT_IN_BACKUP}
        | {"current_failures": None if file["recoverable"] is None else int(file["recoverable"])}
        for file in row["files"]
    ]
    return shown


def retries(ledger: Ledger, job_id: str, file_id: str) -> list[Row]:
    """Failed attempts of a file, each with the file as it is now."""
    file = next((row for row in ledger.files(job_id) if str(row["file_id"]) == file_id), None)
    return [] if file is None else [{**record, "file": file} for record in ledger.retries(file["file_id"])]


def jobs(ledger: Ledger, identity: Identity, asked: Request) -> list[Row]:
    """`GET /jobs`: unfinished jobs unless a time window or a limit is given; raises Refused."""
    limit = asked.argument("limit")
    count = int(limit) if limit and limit.lstrip("-").isdigit() else None
    if count is not None and not 0 < count <= MOST_JOBS:
        raise Refused(400, "The limit must be positive and less or equal than 500")
    if (wanted := asked.argument("dlg_id")) and wanted != identity.delegation_id:
        raise Refused(403, "The provided delegation id does not match your delegation id")
    if (wanted := asked.argument("user_dn")) and wanted != identity.dn:
        raise Refused(400, "The provided DN and delegation id do not correspond to the same user")
    window = _window(asked.argument("time_window"))
    states = _split(asked.argument("state_in"))
    everything = identity.levels.get("transfer") == "all"
    rows = ledger.jobs(
        None if everything else identity.vo,
        unfinished=count is None and window is None,
    )
    if window is not None:
        since = moment(clock.now() - window)
        rows = [row for row in rows if row["job_finished"] and row["job_finished"] >= since]
    for key in ("source_se", "dest_se"):
        if wanted := asked.argument(key):
            rows = [row for row in rows if row[key] == wanted]
    rows = [row for row in rows if not states or row["job_state"] in states][:count]
    names = _split(asked.argument("fields"))
    return [{name: row[name] for name in names if name in row} if names else row for row in rows]


def open_files(ledger: Ledger, identity: Identity, asked: Request) -> list[Row]:
    """`GET /files`: files without finish time of the caller's VO."""
    states = _split(asked.argument("state_in"))
    wanted = {key: asked.argument(key) for key in ("source_se", "dest_se", "dest_surl")}
    found: list[Row] = []
    for job_row in ledger.jobs(identity.vo, unfinished=False):
        for file in ledger.files(job_row["job_id"]):
            fits = all(value is None or file[key] == value for key, value in wanted.items())
            if fits and file["finish_time"] is None and (not states or file["file_state"] in states):
                found.append(file)
    return found[:MOST_FILES]


def _split(text: str | None) -> list[str]:
    return [part for part in (text or "").split(",") if part]


def _window(text: str | None) -> int | None:
    if not text:
        return None
    hours, _, minutes = text.partition(":")
    return int(hours) * 3600 + int(minutes or 0) * 60
