"""The WLCG Tape REST API v1 of the tape endpoint: stage, cancel, release, archiveinfo (fts-cta.md 7.2)."""

from __future__ import annotations

import json
import re
from typing import Any

from perdura.local.tape.http import Request, Response, as_json
from perdura.local.tape.library import Library

SITE = "perdura-tape"
DEFAULT_LIFETIME = 24 * 3600.0
LONGEST_LIFETIME = 90 * 24 * 3600.0
DURATION = re.compile(r"P(?=.)(?:(\d{1,5})D)?(?:T(?=.)(?:(\d{1,7})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?$")


def problem(status: int, title: str, detail: str | None = None) -> Response:
    """An RFC 7807 error."""
    body: dict[str, Any] = {"status": status, "title": title} | ({"detail": detail} if detail else {})
    return as_json(body, status, {"Content-Type": "application/problem+json"})


def discovery(base: str) -> Response:
    """Where the API is."""
    entry = {"uri": f"{base}/api/v1", "version": "v1", "metadata": {}}
    return as_json({"sitename": SITE, "description": "Tape library of one machine", "endpoints": [entry]})


def handle(library: Library, base: str, asked: Request) -> Response:
    """Answer one request below `/api/v1`, with or without trailing slash."""
    match (asked.method, asked.path.strip("/").split("/")[2:]):
        case ("POST", ["archiveinfo"]):
            return _archiveinfo(library, asked)
        case ("POST", ["stage"]):
            return _stage(library, base, asked)
        case ("GET", ["stage", request]):
            return _progress(library, request)
        case ("DELETE", ["stage", request]):
            return Response(200) if library.catalogue.forget_stage(request) else problem(404, "Not found")
        case ("POST", ["stage", request, "cancel"]):
            return _cancel(library, request, asked)
        case ("POST", ["release", _]):
            paths = _paths(asked)
            if isinstance(paths, Response):
                return paths
            library.release(paths)
            return Response(200)
    return problem(404, "Not found")


def _document(asked: Request) -> Any:
    try:
        return json.loads(asked.content())
    except ValueError:
        return None


def _paths(asked: Request) -> list[str] | Response:
    document = _document(asked)
    paths = document.get("paths") if isinstance(document, dict) else None
    if not isinstance(paths, list) or not paths or not all(isinstance(p, str) for p in paths):
        return problem(400, "JSON Validation error", "paths – Field does not exist or is not a valid non-empty array")
    return [_clean(path) for path in paths]


def _clean(path: str) -> str:
    return re.sub("/{2,}", "/", "/" + path).rstrip("/")


def _archiveinfo(library: Library, asked: Request) -> Response:
    paths = _paths(asked)
    if isinstance(paths, Response):
        return paths
    items = []
    for path in paths:
        locality, error = library.locality(path)
        item = {"path": path}
        if locality:
            item["locality"] = locality
        if error:
            item["error"] = error
        items.append(item)
    return as_json(items)


def _stage(library: Library, base: str, asked: Request) -> Response:
    document = _document(asked)
    files = document.get("files") if isinstance(document, dict) else None
    if not isinstance(files, list) or not files or not all(
        isinstance(f, dict) and isinstance(f.get("path"), str) for f in files
    ):  # fmt: skip
        return problem(400, "JSON Validation error", "files – Field does not exist or is not a valid non-empty array")
    wanted = []
    for file in files:
        lifetime = _seconds(file.get("diskLifetime"))
        if lifetime is None:
            return problem(400, "JSON Validation error", "diskLifetime – not an ISO 8601 duration")
        wanted.append((_clean(file["path"]), lifetime))
    request = library.stage(wanted)
    return as_json({"requestId": request}, 201, {"Location": f"{base}/api/v1/stage/{request}"})


def _seconds(lifetime: object) -> float | None:
    if lifetime is None:
        return DEFAULT_LIFETIME
    match = DURATION.match(lifetime) if isinstance(lifetime, str) else None
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return min(float(days * 86400 + hours * 3600 + minutes * 60 + seconds), LONGEST_LIFETIME)


def _progress(library: Library, request: str) -> Response:
    times = library.catalogue.stage_request(request)
    if times is None:
        return problem(404, "Not found")
    files: list[dict[str, Any]] = []
    for file in library.catalogue.stage_files(request):
        entry = library.catalogue.entry(file.path)
        item: dict[str, Any] = {"path": file.path}
        if file.error is not None:
            item["error"] = file.error
        item["onDisk"] = bool(entry and entry.on_disk)
        files.append(item)
    answer: dict[str, Any] = {"id": request, "files": files}
    for key, moment in zip(("createdAt", "startedAt", "completedAt"), times, strict=True):
        if moment is not None:
            answer[key] = int(moment)
    return as_json(answer)


def _cancel(library: Library, request: str, asked: Request) -> Response:
    if library.catalogue.stage_request(request) is None:
        return problem(404, "Not found")
    paths = _paths(asked)
    if isinstance(paths, Response):
        return paths
    known = {file.path for file in library.catalogue.stage_files(request)}
    for path in paths:
        if path not in known:
            detail = (
                f"The file {path} does not belong to the STAGE request {request}. "
                "No modification has been made to this request."
            )
            return problem(400, "File missing from stage request", detail)
    for path in paths:
        library.catalogue.stage_state(path, "CANCELLED", None, request)
    return Response(200)
