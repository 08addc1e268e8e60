"""Digests in headers."""

from __future__ import annotations

import base64
import hashlib

import pytest

from perdura.sources.announced import announced

DATA = b"data"
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(DATA).hexdigest()
MD5_64 = base64.b64encode(bytes.fromhex(MD5)).decode()
SHA256_64 = base64.b64encode(bytes.fromhex(SHA256)).decode()


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("content-md5", MD5, {"md5": MD5}),
        ("content-md5", MD5_64, {"md5": MD5}),
        ("etag", f'"md5:{MD5}"', {"md5": MD5}),
        ("etag", f'"{MD5}"', {}),
        ("repr-digest", f"sha-256=:{SHA256_64}:", {"sha256": SHA256}),
        ("digest", f"SHA-256={SHA256_64},MD5={MD5_64}", {"sha256": SHA256, "md5": MD5}),
        ("x-gitlab-content-sha256", SHA256, {"sha256": SHA256}),
        ("content-md5", "nonsense", {}),
        ("digest", "sha-256=AAAA", {}),
    ],
)
def test_announced(name: str, value: str, found: dict[str, str]) -> None:
    assert announced(((name, value),)) == found
