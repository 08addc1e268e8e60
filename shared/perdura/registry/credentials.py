"""Credentials for sources: kept encrypted, used by harvests of their owner, never given back to anybody.

AES-256-GCM (NIST SP 800-38D) with the owner and the source as associated data, so that a row copied to another owner
cannot be read. The keys come from the environment, the newest first: new secrets take the first, old ones are read with
whichever made them, and `renew` moves them to the first.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.errors import Broken, NotFound
from perdura.settings import Settings

KEY_BYTES = 32
NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Kept:
    """What may be told of a credential: never the credential."""

    source: str
    created_at: datetime
    updated_at: datetime
    used_at: datetime | None


def keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys of this installation, newest first; raises Broken when there is none, or one cannot be one."""
    told = settings.credential_keys.get_secret_value().split() if settings.credential_keys else []
    if not told:
        raise Broken("No PERDURA_CREDENTIAL_KEYS is set: credentials cannot be kept.", code="no-credential-key")
    found = []
    for word in told:
        try:
            key = base64.b64decode(word, altchars=b"-_", validate=True)
        except binascii.Error as error:
            raise Broken("PERDURA_CREDENTIAL_KEYS holds a word that is no base64.", code="credential-key") from error
        if len(key) != KEY_BYTES:
            raise Broken("A key in PERDURA_CREDENTIAL_KEYS is not of 32 bytes.", code="credential-key")
        found.append(key)
    return tuple(found)


def key_id(key: bytes) -> str:
    """A name for a key that gives nothing of it away."""
    return hashlib.sha256(b"perdura credential key\x00" + key).hexdigest()[:16]


def encrypted(secret: str, key: bytes, owner: UUID, source: str) -> bytes:
    """Nonce and ciphertext."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, secret.encode(), _bound_to(owner, source))


def decrypted(ciphertext: bytes, key: bytes, owner: UUID, source: str) -> str:
    """The secret; raises Broken when it was not encrypted with this key, for this owner and this source."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        plain = AESGCM(key).decrypt(ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:], _bound_to(owner, source))
    except InvalidTag as error:
        raise Broken("A kept credential cannot be read: it was changed.", code="credential-unreadable") from error
    return plain.decode()


def _bound_to(owner: UUID, source: str) -> bytes:
    return f"{owner}\x00{source}".encode()


_PUT = text("""
    INSERT INTO credential (owner, source, key_id, ciphertext) VALUES (:owner, :source, :key_id, :ciphertext)
    ON CONFLICT (owner, source) DO UPDATE SET key_id = excluded.key_id, ciphertext = excluded.ciphertext,
        updated_at = clock_timestamp(), used_at = NULL
    RETURNING source, created_at, updated_at, used_at
""")


def put(connection: Connection, settings: Settings, owner: UUID, source: str, secret: str) -> Kept:
    """Keep a credential in the place of an earlier one; raises Broken when there is no key."""
    key = keys(settings)[0]
    values = {"owner": owner, "source": source, "key_id": key_id(key)}
    row = connection.execute(_PUT, {**values, "ciphertext": encrypted(secret, key, owner, source)}).one()
    return Kept(row.source, row.created_at, row.updated_at, row.used_at)


def kept(connection: Connection, owner: UUID) -> Sequence[Kept]:
    """The credentials of an owner, by source."""
    rows = connection.execute(
        text("SELECT source, created_at, updated_at, used_at FROM credential WHERE owner = :owner ORDER BY source"),
        {"owner": owner},
    )
    return [Kept(row.source, row.created_at, row.updated_at, row.used_at) for row in rows]


def remove(connection: Connection, owner: UUID, source: str) -> None:
    """Forget a credential; raises NotFound."""
    done = connection.execute(
        text("DELETE FROM credential WHERE owner = :owner AND source = :source"), {"owner": owner, "source": source}
    )
    if done.rowcount != 1:
        raise NotFound("There is no credential for this source.")


def use(connection: Connection, settings: Settings, owner: UUID, source: str) -> str | None:
    """The secret of an owner for a source, None where there is none; raises Broken when its key is gone."""
    row = connection.execute(
        text("""
            UPDATE credential SET used_at = clock_timestamp() WHERE owner = :owner AND source = :source
            RETURNING key_id, ciphertext
        """),
        {"owner": owner, "source": source},
    ).one_or_none()
    if row is None:
        return None
    return decrypted(row.ciphertext, key_of(settings, row.key_id), owner, source)


def renew(connection: Connection, settings: Settings, limit: int = 1000) -> int:
    """Encrypt with the newest key what an older one of this installation encrypted; returns how many were.

    What was encrypted with a key that is gone holds up nothing: see `unreadable`. Raises Broken.
    """
    newest, *older = keys(settings)
    rows = connection.execute(
        text("""
            SELECT owner, source, key_id, ciphertext FROM credential
            WHERE key_id <> :newest AND key_id = ANY(:older) ORDER BY owner, source LIMIT :limit FOR UPDATE SKIP LOCKED
        """),
        {"newest": key_id(newest), "older": [key_id(key) for key in older], "limit": limit},
    ).all()
    for row in rows:
        secret = decrypted(row.ciphertext, key_of(settings, row.key_id), row.owner, row.source)
        connection.execute(
            text("""
                UPDATE credential SET key_id = :key_id, ciphertext = :ciphertext
                WHERE owner = :owner AND source = :source
            """),
            {
                "key_id": key_id(newest),
                "ciphertext": encrypted(secret, newest, row.owner, row.source),
                "owner": row.owner,
                "source": row.source,
            },
        )
    return len(rows)


def unreadable(connection: Connection, settings: Settings) -> int:
    """How many credentials were encrypted with a key that this installation has no more; raises Broken."""
    known = [key_id(key) for key in keys(settings)]
    return int(
        connection.execute(
            text("SELECT count(*) FROM credential WHERE key_id <> ALL(:known)"), {"known": known}
        ).scalar_one()
    )


def key_of(settings: Settings, wanted: str) -> bytes:
    """The key of that name; raises Broken when this installation has it no more."""
    for key in keys(settings):
        if key_id(key) == wanted:
            return key
    raise Broken("The key of a kept credential is not in PERDURA_CREDENTIAL_KEYS.", code="credential-key-gone")
