"""Secrets that sign what subscriptions are sent: kept sealed with the keys of credentials."""

from __future__ import annotations

import base64
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.errors import Broken
from perdura.registry import credentials
from perdura.settings import Settings

_SEALED = "sealed"


def sealed(settings: Settings, subscription: UUID, secret: str) -> str:
    """A secret as it is kept: encrypted with the newest of the keys that credentials are kept with.

    Raises Broken when there is none.
    """
    key = credentials.keys(settings)[0]
    kept = credentials.encrypted(secret, key, subscription, _SEALED)
    return ":".join((_SEALED, credentials.key_id(key), base64.b64encode(kept).decode()))


def opened(settings: Settings, subscription: UUID, kept: str) -> str:
    """The secret that was kept; one from before secrets were sealed is as it is. Raises Broken if it is unreadable."""
    mark, _, rest = kept.partition(":")
    if mark != _SEALED:
        return kept
    key_id, _, ciphertext = rest.partition(":")
    key = credentials.key_of(settings, key_id)
    try:
        return credentials.decrypted(base64.b64decode(ciphertext), key, subscription, _SEALED)
    except ValueError as error:
        raise Broken("The secret of a subscription cannot be read.", code="credential-unreadable") from error


def seal_anew(connection: Connection, settings: Settings, limit: int = 1000) -> int:
    """Seal with the newest key what another one sealed, or none; returns how many were. Raises Broken.

    What cannot be read stays as it is: telling its subscription fails, and says why.
    """
    older = [credentials.key_id(key) for key in credentials.keys(settings)[1:]]
    rows = connection.execute(
        text("""
            SELECT id, secret FROM subscription
            WHERE secret <> '' AND (NOT starts_with(secret, :mark) OR split_part(secret, ':', 2) = ANY(:older))
            ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
        """),
        {"mark": f"{_SEALED}:", "older": older, "limit": limit},
    ).all()
    moved = 0
    for row in rows:
        try:
            secret = sealed(settings, row.id, opened(settings, row.id, row.secret))
        except Broken:
            continue
        connection.execute(
            text("UPDATE subscription SET secret = :secret WHERE id = :id"), {"id": row.id, "secret": secret}
        )
        moved += 1
    return moved
