"""What may be submitted: checks and defaults of `POST /jobs`, and the rows it makes (fts-cta.md 2.6, 2.7)."""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlparse, urlunparse

from perdura.local.tape import clock
from perdura.local.tape.clock import moment
from perdura.local.tape.fts.identity import Identity, deterministic_job_id, short_sha1
from perdura.local.tape.fts.problems import Crash, Refused

DEFAULTS: Mapping[str, Any] = {
    "bring_online": -1, "verify_checksum": False, "copy_pin_lifetime": -1, "gridftp": "", "job_metadata": None,
    "overwrite": False, "overwrite_on_retry": False, "overwrite_hop": False, "overwrite_when_only_on_disk": False,
    "dst_file_report": False, "reuse": None, "multihop": False, "source_spacetoken": "",
    "destination_spacetoken": "", "retry": 0, "retry_delay": 0, "priority": 3, "max_time_in_queue": None,
    "id_generator": "standard", "sid": None, "s3alternate": False, "target_qos": None, "archive_timeout": -1,
}  # fmt: skip
STRATEGIES = frozenset({
    "auto", "orderly", "queue", "success", "throughput", "file-throughput", "pending-data", "waiting-time",
    "waiting-time-with-error", "duration",
})  # fmt: skip
LIMITS = {"job": 2048, "file": 4096, "staging": 1024, "archive": 1024}
LONGEST_URL, LONGEST_ACTIVITY, LONGEST_CHECKSUM = 1100, 255, 100

Row = dict[str, Any]


def build(document: Any, identity: Identity, *, tape_by_token: bool) -> tuple[Row, list[Row]]:
    """The job row and the file rows of a submission; raises Refused with the server's own status and message."""
    if not isinstance(document, dict):
        raise Refused(400, "Expecting a dictionary")
    if identity.method == "oauth2" and "params" not in document:
        raise Crash
    params = _params(document.get("params") or {})
    metadata = _metadata(params["job_metadata"], LIMITS["job"])
    if "delete" in document:
        raise Refused(405, "Deletion jobs are no longer supported by FTS")
    if "files" not in document:
        raise Refused(400, "No transfers operations specified")
    sid = _sid(params)
    job_id = deterministic_job_id(identity.vo, sid) if sid is not None else str(uuid.uuid1())
    if identity.method == "oauth2" and not tape_by_token:
        _no_tape_with_tokens(params)
    files_in = document["files"]
    if not isinstance(files_in, list):
        raise Crash
    overwrite = _overwrite(params, files_in)
    staging = _integer(params["bring_online"], text=False) > 0 or _integer(params["copy_pin_lifetime"], text=False) > 0
    initial = "STAGING" if staging else "SUBMITTED"
    files = [row for index, item in enumerate(files_in) for row in _rows(item, index, staging)]
    if not files:
        raise Refused(400, "No valid pairs available")
    kind = _kind(params, files_in, files)
    archive_timeout = _archive_timeout(params["archive_timeout"])
    job = {
        "job_id": job_id, "job_state": initial, "job_type": kind, "reason": None,
        "source_se": _common(files, "source_se") if kind != "H" else files[0]["source_se"],
        "dest_se": _common(files, "dest_se") if kind != "H" else files[-1]["dest_se"],
        "submit_time": moment(), "job_finished": None, "submit_host": "localhost",
        "user_dn": identity.dn, "cred_id": identity.delegation_id, "vo_name": identity.vo,
        "priority": max(1, min(5, _integer(params["priority"]))), "retry": _integer(params["retry"]),
        "retry_delay": _integer(params["retry_delay"]), "max_time_in_queue": _queue_limit(params["max_time_in_queue"]),
        "archive_timeout": archive_timeout, "bring_online": _integer(params["bring_online"]),
        "copy_pin_lifetime": _integer(params["copy_pin_lifetime"]),
        "verify_checksum": _verify(params["verify_checksum"], files_in), "overwrite_flag": overwrite,
        "dst_file_report": bool(params["dst_file_report"]), "cancel_job": False,
        "job_metadata": {**(metadata or {}), "auth_method": identity.method},
        "internal_job_params": _internal(params), "source_spacetoken": None, "destination_spacetoken": None,
        "target_qos": None, "os_project_id": None,
    }  # fmt: skip
    shared = random.randrange(65536) if kind in "HY" or staging else None  # noqa: S311
    for row in files:
        row |= {"job_id": job_id, "vo_name": identity.vo, "priority": job["priority"], "file_state": initial}
        row["hashed_id"] = random.randrange(65536) if shared is None else shared  # noqa: S311
    for row in files if identity.method == "oauth2" else ():
        # Without tokens of their own, both ends are opened with that of the submission (fts-cta.md 5).
        row["src_token_id"] = row["src_token_id"] or identity.token_id
        row["dst_token_id"] = identity.token_id
    if kind in "HR":
        # Strategy `auto` looks at the links' history, of which there is none: any replica will do.
        used = files[len(files) // 2] if kind == "R" and files[0]["selection_strategy"] != "orderly" else files[0]
        for row in files:
            row["file_state"] = initial if row is used else "NOT_USED"
    if identity.method == "oauth2" and not tape_by_token:
        for row in files:
            row |= {"file_state_initial": row["file_state"], "file_state": "TOKEN_PREP"}
    return job, files


def _params(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Refused(400, "Malformed request: cannot convert dictionary update sequence element #0 to a sequence")
    return {**DEFAULTS, **{key: value for key, value in given.items() if value is not None}}


def _metadata(value: Any, limit: int) -> dict[str, Any] | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = {"label": value}
    if not isinstance(value, dict):
        raise Refused(400, "Invalid value within the request: Metadata neither JSON nor String")
    return _bounded(value, limit)


def _hints(value: Any, name: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Refused(400, f"Invalid value within the request: {name.capitalize()} metadata not in JSON format")
    return _bounded(value, LIMITS[name])


def _bounded(value: dict[str, Any], limit: int) -> dict[str, Any]:
    if len(json.dumps(value)) > limit:
        raise Refused(
            400,
            f"Invalid value within the request: Job Submission Refused, metadata exceeds size limit of {limit}",
        )
    return value


def _sid(params: Mapping[str, Any]) -> str | None:
    if params["id_generator"] != "deterministic":
        return None
    if not params["sid"]:
        raise Refused(400, "Need sid for deterministic job id generation")
    if not isinstance(params["sid"], str):
        kind = type(params["sid"]).__name__
        raise Refused(400, f'Malformed request: can only concatenate str (not "{kind}") to str')
    return params["sid"]


def _no_tape_with_tokens(params: Mapping[str, Any]) -> None:
    for key, what in (("archive_timeout", "archive to"), ("bring_online", "retrieve from")):
        if isinstance(params[key], int) and params[key] > 0:
            raise Refused(400, f"Requests to {what} tape using token authentication are not supported")


def _overwrite(params: Mapping[str, Any], files: list[Any]) -> str | None:
    flags = {
        "Y": params["overwrite"], "R": params["overwrite_on_retry"], "M": params["overwrite_hop"],
        "D": params["overwrite_when_only_on_disk"],
    }  # fmt: skip
    raised = {flag for flag, value in flags.items() if value and value != "N"}
    if len(raised) > 1 and raised != {"M", "D"}:
        raise Refused(400, "Incompatible overwrite flags used at the same time")
    if "D" in raised:
        if _archive_timeout(params["archive_timeout"]) <= 0:
            raise Refused(400, "'overwrite-when-only-on-disk' requires 'archive-timeout' to be set")
        destinations = [url for item in files if isinstance(item, dict) for url in item.get("destinations", ())]
        if not all(urlparse(str(url).strip()).scheme in ("https", "davs") for url in destinations):
            raise Refused(
                400,
                "'overwrite-when-only-on-disk' requires destination to be HTTPs endpoint (Tape REST API required)",
            )
    if "M" in raised and not params["multihop"]:
        raise Refused(400, "'overwrite-hop' requires multihop job submission")
    if raised == {"M", "D"}:
        return "Q"
    return next((flag for flag, value in flags.items() if value), None)


def _rows(item: Any, index: int, staging: bool) -> list[Row]:
    if not isinstance(item, dict):
        raise Crash
    for key in ("sources", "destinations"):
        if key not in item:
            raise Refused(400, f"Missing parameter: '{key}'")
    sources = [_url(url) for url in item["sources"]]
    destinations = [_url(url) for url in item["destinations"]]
    activity = item.get("activity") or "default"
    checksum = "ADLER32" if item.get("checksum") is None else item["checksum"]
    if len(activity) > LONGEST_ACTIVITY or len(checksum) > LONGEST_CHECKSUM:
        raise Crash
    try:
        size = int(float(item.get("filesize") or 0))
    except ValueError as error:
        raise Refused(400, f"Invalid value within the request: {error}") from error
    common: Row = {
        "file_index": index, "file_state_initial": "", "activity": activity, "checksum": checksum,
        "user_filesize": size, "filesize": None, "selection_strategy": item.get("selection_strategy") or "auto",
        "file_metadata": _metadata(item.get("metadata"), LIMITS["file"]),
        "staging_metadata": _hints(item.get("staging_metadata"), "staging"),
        "archive_metadata": _hints(item.get("archive_metadata"), "archive"), "scitag": _scitag(item.get("scitag")),
        "reason": None, "recoverable": None, "retry": 0, "start_time": None, "finish_time": None,
        "staging_start": None, "staging_finished": None, "archive_start_time": None, "archive_finish_time": None,
        "bringonline_token": None, "staging_host": None, "transfer_host": None, "pid": None,
        "internal_file_params": None, "tx_duration": None, "throughput": None, "log_file": None, "log_debug": None,
        "dest_surl_uuid": None, "src_token_id": None, "dst_token_id": None,
    }  # fmt: skip
    tokens = _source_tokens(item, sources)
    rows = []
    for source, token in zip(sources, tokens, strict=True):
        for destination in destinations:
            here, there = source, destination
            if staging and source.startswith("root://"):
                here = f"{source}{'&' if '?' in source else '?'}activity={activity}"
                there = here if destination == source else destination
            ends = {"source_se": _storage(source), "dest_se": _storage(destination)}
            rows.append({**common, "source_surl": here, "dest_surl": there, **ends, "src_token_id": _token_id(token)})
    return rows


def _source_tokens(item: Mapping[str, Any], sources: list[str]) -> list[str | None]:
    given, others = item.get("source_tokens"), item.get("destination_tokens")
    if bool(given) != bool(others):
        raise Refused(400, "Both source_tokens and destination_tokens are required if one of them is present.")
    if not given:
        return [None] * len(sources)
    if len(given) != len(sources):
        raise Refused(400, "Length of source_tokens should be equal to the length of sources.")
    for url, token in zip(sources, given, strict=True):
        if not token:
            raise Refused(400, f"Token for source '{url}' is missing.")
    for token in [*given, *(others or ())]:
        _check_claims(str(token))
    return list(given)


def _check_claims(token: str) -> None:
    """Refuse a JWT that lacks a claim or has ended; tokens of another kind are their storage's business."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return
    for name in ("iss", "nbf", "exp", "scope", "aud"):
        if name not in claims:
            raise Refused(400, f"Token does not contain a {name} claim")
    if claims["exp"] < clock.now():
        raise Refused(400, "Failed to validate access-token")


def _token_id(token: str | None) -> str | None:
    return short_sha1(token) if token else None


def tokens_of(document: Any) -> dict[str, str]:
    """The source tokens of a submission by their names."""
    given = [t for item in document["files"] for t in item.get("source_tokens") or () if isinstance(t, str)]
    return {short_sha1(token): token for token in given}


def _url(value: Any) -> str:
    url = str(value).strip()
    parts = urlparse(url)
    shown = urlunparse(parts)
    if not parts.scheme:
        raise Refused(400, f"Invalid value within the request: Missing scheme ({shown})")
    if parts.scheme == "file":
        raise Refused(400, f"Invalid value within the request: Can not transfer local files ({shown})")
    if not parts.hostname:
        raise Refused(400, f"Invalid value within the request: Missing host ({shown})")
    if not parts.path or (parts.path == "/" and not parts.query):
        raise Refused(400, f"Invalid value within the request: Missing path ({shown})")
    try:
        url.encode("latin-1")
    except UnicodeEncodeError as error:
        raise Crash from error
    if len(url) > LONGEST_URL:
        raise Crash
    return url


def _storage(url: str) -> str:
    parts = urlparse(url)
    return f"{parts.scheme}://{parts.hostname}"


def _scitag(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int):
        text = f"Invalid SciTag value: {value}. Must be an integer in the [65, 65535] range!"
        raise Refused(400, f"Invalid value within the request: {text}")
    if not 65 <= value <= 65535:
        text = f"Invalid SciTag value: {value} (not in [65, 65535] range)"
        raise Refused(400, f"Invalid value within the request: {text}")
    return value


def _kind(params: Mapping[str, Any], items: list[Any], files: list[Row]) -> str:
    replicas = any(len(item["sources"]) > 1 for item in items)
    if replicas and (params["multihop"] or params["reuse"]):
        raise Refused(
            400, "Can not request multiple replica job together with multihop or session reuse at the same time"
        )
    if replicas and len(items) > 1:
        raise Refused(400, "Multiple replica jobs must only have one unique file")
    if replicas:
        for item in items:
            strategy = item.get("selection_strategy") or "auto"
            if strategy not in STRATEGIES:
                raise Refused(400, f"{strategy} algorithm is not supported by Scheduler")
        return "R"
    if params["multihop"]:
        return "H"
    if params["reuse"]:
        if not (_common(files, "source_se") and _common(files, "dest_se")):
            raise Refused(400, "Reuse jobs must only contain transfers for the same source ad destination storage")
        return "Y"
    return "N"


def _common(files: list[Row], key: str) -> str | None:
    values = {row[key] for row in files}
    return str(values.pop()) if len(values) == 1 else None


def _integer(value: Any, *, text: bool = True) -> int:
    if isinstance(value, str) and not text:
        return int(value) if value.lstrip("-").isdigit() else -1
    try:
        return int(value)
    except (ValueError, TypeError) as error:
        raise Refused(400, f"Invalid value within the request: {error}") from error


def _archive_timeout(value: Any) -> int:
    if isinstance(value, int):
        return int(value)
    return int(value) if isinstance(value, str) and value.isdigit() else -1


def _verify(value: Any, files: list[Any]) -> str:
    if value is True:
        return "b"
    if isinstance(value, str) and value:
        return value[0]
    return "t" if any(item.get("checksum") for item in files) else "n"


def _queue_limit(value: Any) -> int | None:
    if not value:
        return None
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if isinstance(value, str) and value[-1:] in units:
        seconds = _integer(value[:-1]) * units[value[-1]]
    else:
        seconds = _integer(value) * 3600
    return int(clock.now()) + seconds if seconds else None


def _internal(params: Mapping[str, Any]) -> str | None:
    parts = [
        f"{name}:{_integer(params[key])}"
        for key, name in (("nostreams", "nostreams"), ("timeout", "timeout"), ("buffer_size", "buffersize"))
        if params.get(key) is not None
    ]
    for key, name in (("strict_copy", "strict"), ("disable_cleanup", "disable-cleanup")):
        if params.get(key):
            parts.append(name)
    if params.get("ipv4"):
        parts.append("ipv4")
    elif params.get("ipv6"):
        parts.append("ipv6")
    if params["s3alternate"]:
        parts.append("s3alternate")
    return ",".join(parts) or None
