"""Secrets of sessions and tokens: 256 random bits each, of which only the SHA-256 is kept.

A slow hash protects passwords, which people choose; what nobody can guess needs none, and every request looks it up.
"""

from __future__ import annotations

import hashlib
import secrets

TOKEN_PREFIX = "perdura_"  # noqa: S105
"""Begins every personal access token, so that scanners of repositories and logs recognise one."""


def fresh() -> str:
    """A new secret: 43 characters that are safe in URLs, headers and cookies."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
