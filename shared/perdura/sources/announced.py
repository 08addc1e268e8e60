"""Digests that a server announces in the headers of a file: declarations like those of a file list."""

from __future__ import annotations

import base64
import binascii
import re

from perdura.clients.connections import Headers

_NAMES = frozenset({"digest", "repr-digest", "content-md5", "etag", "x-gitlab-content-sha256"})
_HEX_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_HEX_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_DIGEST = re.compile(r"(?P<name>sha-256|sha-512|md5)=:?(?P<value>[A-Za-z0-9+/]+=*):?", re.IGNORECASE)


def announced(headers: Headers) -> dict[str, str]:
    """Lower-case hex by algorithm.

    Read are `Content-MD5` (base64 by RFC 1864, hex at InvenioRDM), `Repr-Digest` (RFC 9530), `Digest` (RFC 3230),
    InvenioRDM's ETag `"md5:…"` and GitLab's `X-Gitlab-Content-Sha256`. What is not readable counts as absent.
    """
    told: dict[str, str] = {}
    for name, value in headers:
        if name in _NAMES:
            told.setdefault(name, value)
    found: dict[str, str] = {}
    if not told:
        return found
    for name in ("digest", "repr-digest"):
        for match in _DIGEST.finditer(told.get(name, "")):
            if digest := _from_base64(match["value"]):
                found[match["name"].lower().replace("-", "")] = digest
    md5 = told.get("content-md5", "").strip()
    if _HEX_MD5.fullmatch(md5):
        found["md5"] = md5.lower()
    elif len(md5) == 24 and (digest := _from_base64(md5)):
        found["md5"] = digest
    tag = told.get("etag", "").strip('"')
    if tag.startswith("md5:") and _HEX_MD5.fullmatch(tag[4:]):
        found.setdefault("md5", tag[4:].lower())
    sha256 = told.get("x-gitlab-content-sha256", "")
    if _HEX_SHA256.fullmatch(sha256):
        found["sha256"] = sha256.lower()
    return found


def _from_base64(text: str) -> str | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data.hex() if len(data) in (16, 32, 64) else None
