"""Settings of storages at the transfer service: S3 keys and link settings (fts-cta.md 2.14).

They are kept and shown as the real server does, secrets in clear; no copy of this emulator makes use of them.
"""

from __future__ import annotations

from typing import Any

from perdura.local.tape.fts.bodies import json_object
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.problems import Refused
from perdura.local.tape.fts.submission import Row
from perdura.local.tape.http import Request, Response, as_json

CLOUD, LINK = "cloud-storage", "storage-settings"
SETTINGS = (
    "inbound_max_active", "inbound_max_throughput", "outbound_max_active", "outbound_max_throughput", "udt", "ipv6",
    "se_metadata", "site", "debug_level", "skip_eviction", "tpc_support", "overwrite_disk_enabled",
)  # fmt: skip


def handle(ledger: Ledger, parts: list[str], asked: Request) -> Response | None:
    """Answer a request below `/config/cloud_storage` or `/config/se`; None when it is none. Raises Refused."""
    match (asked.method, parts):
        case ("POST", ["cloud_storage"]):
            name = str(json_object(asked).get("storage_name"))
            ledger.keep_note(CLOUD, name, {"users": []})
            # The real server breaks off here: the body is shorter than its Content-Length.
            return Response(201, b"[", {"Content-Type": "text/html; charset=utf-8"})
        case ("GET", ["cloud_storage"]):
            return as_json([_storage(name, held) for name, held in ledger.notes(CLOUD)])
        case ("GET", ["cloud_storage", name]):
            return as_json(_held(ledger, name)["users"])
        case ("POST", ["cloud_storage", name]):
            return _keys(ledger, name, json_object(asked))
        case ("DELETE", ["cloud_storage", name]):
            ledger.keep_note(CLOUD, name, None)
            return Response(204)
        case ("POST", ["se"]):
            given = json_object(asked)
            for storage, settings in given.items():
                known = settings.get("se_info", {}) if isinstance(settings, dict) else {}
                ledger.keep_note(LINK, storage, {key: known.get(key) for key in SETTINGS})
            return as_json(given)
        case ("GET", ["se"]):
            wanted = asked.argument("se")
            found = {name: {"se_info": held} for name, held in ledger.notes(LINK) if wanted in (None, name)}
            return as_json(found)
    return None


def hosts(ledger: Ledger) -> Row:
    """How many files each node stages and copies."""
    found: dict[str, dict[str, int]] = {}
    for file_id, job_id, state in ledger.open_files():
        kind = {"STARTED": "staging", "READY": "active", "ACTIVE": "active"}.get(state)
        file = next((row for row in ledger.files(job_id) if row["file_id"] == file_id), None)
        if kind is not None and file is not None:
            node = found.setdefault(str(file["transfer_host"]), {"staging": 0, "active": 0})
            node[kind] += 1
    return found


def _held(ledger: Ledger, name: str) -> Row:
    held = ledger.note(CLOUD, name)
    if held is None:
        raise Refused(404, "The storage does not exist")
    return held


def _storage(name: str, held: Row) -> Row:
    return {
        "app_key": None, "app_secret": None, "service_api_url": None, "storage_name": name, "users": held["users"],
    }  # fmt: skip


def _keys(ledger: Ledger, name: str, given: Row) -> Response:
    held = _held(ledger, name)
    dn, vo = given.get("user_dn"), given.get("vo_name")
    if not (dn or vo):
        raise Refused(400, "One of user_dn or vo_name must be specified")
    if dn and vo:
        raise Refused(400, "Only one of user_dn or vo_name must be specified")
    user: dict[str, Any] = {
        "storage_name": name, "access_token_secret": given.get("secret_key"), "request_token_secret": None,
        "request_token": None, "access_token": given.get("access_key"), "user_dn": dn or "", "vo_name": vo or "",
    }  # fmt: skip
    others = [each for each in held["users"] if (each["user_dn"], each["vo_name"]) != (dn or "", vo or "")]
    ledger.keep_note(CLOUD, name, {"users": [*others, user]})
    return as_json({"storage_name": name, "user_dn": user["user_dn"], "vo_name": user["vo_name"]}, 201)
