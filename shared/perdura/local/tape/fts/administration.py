"""Rights, bans and settings of the transfer service, as far as they touch those who use it (fts-cta.md 2.14)."""

from __future__ import annotations

from typing import Any

from perdura.local.tape.clock import moment
from perdura.local.tape.fts import storage_settings
from perdura.local.tape.fts.bodies import json_object
from perdura.local.tape.fts.identity import Identity
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.problems import NO_RIGHT, Refused
from perdura.local.tape.fts.submission import Row
from perdura.local.tape.fts.transitions import JOB_FINAL
from perdura.local.tape.http import Request, Response, as_json

GLOBAL = {
    "retry": 0, "sec_per_mb": 0, "no_streaming": False, "max_time_queue": 0, "global_timeout": 0,
    "show_user_dn": False, "vo_name": "*",
}  # fmt: skip


def handle(ledger: Ledger, identity: Identity, parts: list[str], asked: Request) -> Response | None:
    """Answer an administrative request; None when the path is none. Raises Refused."""
    configures = "config" in identity.levels or ledger.note("config-right", identity.dn)
    if parts[0] in ("config", "ban", "status", "autocomplete") and not configures:
        raise Refused(403, NO_RIGHT)
    match (asked.method, parts):
        case ("GET", ["optimizer"]):
            return as_json(True)
        case ("GET", ["optimizer", "evolution"]):
            return as_json([])
        case ("GET", ["config", "global"]):
            return as_json({"*": GLOBAL})
        case ("POST", ["config", "authorize"]):
            document = json_object(asked)
            if document.get("operation") == "config":
                ledger.keep_note("config-right", str(document.get("dn")), document)
            return as_json(document)
        case ("GET", ["ban", "se"]):
            return as_json([document for _, document in ledger.notes("banned-se")])
        case ("POST", ["ban", "se"]):
            return _ban_storage(ledger, identity, json_object(asked))
        case ("DELETE", ["ban", "se"]):
            ledger.keep_note("banned-se", str(asked.argument("storage")), None)
            return Response(204)
        case ("POST", ["ban", "dn"]):
            return _ban_user(ledger, identity, json_object(asked))
        case ("DELETE", ["ban", "dn"]):
            ledger.keep_note("banned-dn", str(asked.argument("user_dn")), None)
            return Response(204)
        case (_, ["config", "cloud_storage" | "se", *_]):
            return storage_settings.handle(ledger, parts[1:], asked)
        case ("GET", ["status", "hosts"]):
            return as_json(storage_settings.hosts(ledger))
    return None


def refuse_banned(ledger: Ledger, files: list[Row]) -> None:
    """Refuse files of a banned storage, or put them on hold where the ban allows submission."""
    for file in files:
        for end in ("source_se", "dest_se"):
            ban = ledger.note("banned-se", file[end])
            if ban is None:
                continue
            if ban["status"] != "WAIT_AS":
                raise Refused(403, f"{file[end]} is banned")
            file["file_state"] = "ON_HOLD_STAGING" if file["file_state"] == "STAGING" else "ON_HOLD"


def _ban_storage(ledger: Ledger, identity: Identity, document: Row) -> Response:
    storage = document.get("storage")
    if not storage:
        raise Refused(400, "Missing storage parameter")
    status = str(document.get("status", "cancel")).upper()
    if document.get("allow_submit") and status == "CANCEL":
        raise Refused(400, "allow_submit and status = CANCEL can not be combined")
    ban = {
        "se": storage, "vo": identity.vo, "status": "WAIT_AS" if document.get("allow_submit") else status,
        "message": document.get("message"), "addition_time": moment(), "admin_dn": identity.dn,
    }  # fmt: skip
    ledger.keep_note("banned-se", str(storage), ban)
    affected: list[Any] = []
    with ledger.change():
        for job in ledger.jobs(identity.vo, unfinished=True) if status == "CANCEL" else ():
            files = ledger.files(job["job_id"])
            touched = [f for f in files if storage in (f["source_se"], f["dest_se"])]
            if touched:
                affected.append(job["job_id"])
                _close(ledger, job, files, touched, "Storage banned")
    return as_json(affected)


def _ban_user(ledger: Ledger, identity: Identity, document: Row) -> Response:
    dn = str(document.get("user_dn") or "")
    if dn == identity.dn:
        raise Refused(409, "The user tried to ban (her|his)self")
    ledger.keep_note("banned-dn", dn, {"admin": identity.dn, "since": moment()})
    affected = []
    with ledger.change():
        for job in ledger.jobs(None, unfinished=True):
            if job["user_dn"] == dn:
                affected.append(job["job_id"])
                files = ledger.files(job["job_id"])
                _close(ledger, job, files, files, "User banned")
    return as_json(affected)


def _close(ledger: Ledger, job: Row, files: list[Row], touched: list[Row], reason: str) -> None:
    now = moment()
    for file in touched:
        file |= {"file_state": "CANCELED", "reason": reason, "finish_time": now}
    if job["job_state"] not in JOB_FINAL:
        job |= {"job_state": "CANCELED", "reason": reason, "job_finished": now}
    ledger.store(job, files)
