"""Records in the shape of InvenioRDM for the fixture upstream."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tests.upstreams.server import Reply, Upstream

JSON = {"Content-Type": "application/json"}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def record(recid: str, base: str, *, revision: int = 1, **more: Any) -> dict[str, Any]:
    """A record with what harvest reads of it."""
    return {
        "id": recid,
        "revision_id": revision,
        "updated": f"2026-01-0{revision}T00:00:00+00:00",
        "links": {"self_html": f"{base}/records/{recid}", "files": f"{base}/api/records/{recid}/files"},
        "parent": {"id": f"parent-{recid}"},
        "metadata": {"title": f"Record {recid}", "creators": [{"person_or_org": {"name": "Exemplar, Ada"}}]},
        "access": {"record": "public", "files": "public", "status": "open"},
        **more,
    }


def entry(key: str, data: bytes, url: str, **more: Any) -> dict[str, Any]:
    """One entry of a file list."""
    return {
        "key": key,
        "size": len(data),
        "checksum": f"md5:{md5(data)}",
        "mimetype": "application/octet-stream",
        "status": "completed",
        "links": {"content": url},
        **more,
    }


def json_reply(value: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(json.dumps(value).encode(), status, {**JSON, **headers})


def publish(upstream: Upstream, recid: str, files: Mapping[str, bytes], *, revision: int = 1, **more: Any) -> str:
    """Serve a record whose files are as they are declared; the URL of its landing page."""
    base = upstream.base
    entries = []
    for key, data in files.items():
        path = f"/api/records/{recid}/files/{quote(key, safe='')}/content"
        entries.append(entry(key, data, base + path))
        upstream.add(
            path, Reply(data, headers={"Content-Type": "application/octet-stream", "ETag": f'"md5:{md5(data)}"'})
        )
    upstream.add(f"/api/records/{recid}", json_reply(record(recid, base, revision=revision, **more)))
    upstream.add(f"/api/records/{recid}/files", json_reply({"enabled": bool(files), "entries": entries}))
    return f"{base}/records/{recid}"


def content_path(recid: str, key: str) -> str:
    """Path of a file's bytes."""
    return f"/api/records/{recid}/files/{quote(key, safe='')}/content"
