"""Personal access tokens: shown once, kept as a digest, narrowed by scopes, ended by time or by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.engine import Connection

from perdura.accounts.credentials import TOKEN_PREFIX, digest, fresh
from perdura.accounts.directory import active, principal_of
from perdura.accounts.principals import Permission, Principal
from perdura.accounts.tables import Account, Token
from perdura.database import AnyRow
from perdura.ids import new_id
from perdura.settings import Settings

NOTE_USE_AFTER = timedelta(seconds=60)
"""How precise the time of last use is: a token that is used all the time costs one write a minute."""

LISTED = 500
"""Tokens that are listed of one account; more than can be good at a time."""

_SHOWN = (
    Token.id,
    Token.account_id,
    Token.name,
    Token.scopes,
    Token.created_at,
    Token.expires_at,
    Token.revoked_at,
    Token.used_at,
    Token.used_from,
)


def issue(
    connection: Connection,
    account_id: UUID,
    *,
    name: str,
    scopes: Iterable[Permission],
    expires_at: datetime,
    made_with: UUID | None = None,
) -> tuple[AnyRow, str]:
    """A new token and its secret, which nobody can learn later.

    It ends with the token that it was `made_with`, and has ended already where that one was ended meanwhile.
    """
    secret = TOKEN_PREFIX + fresh()
    _hold(connection, account_id)
    ended = connection.execute(select(Token.revoked_at).where(Token.id == made_with)).scalar() if made_with else None
    row = connection.execute(
        insert(Token)
        .values(
            id=new_id(),
            account_id=account_id,
            name=name,
            secret_hash=digest(secret),
            scopes=sorted(set(scopes)),
            expires_at=expires_at,
            made_with=made_with,
            revoked_at=ended,
        )
        .returning(*_SHOWN)
    ).one()
    return row, secret


def holder(connection: Connection, secret: str, address: str | None, settings: Settings) -> Principal | None:
    """Who shows this token; None when it is unknown, expired or revoked, or its account is shut."""
    row = connection.execute(
        select(
            Account.id,
            Account.name,
            Account.roles,
            Account.claimed_roles,
            Account.groups,
            Token.id.label("token_id"),
            Token.scopes,
            Token.used_at,
            Token.expires_at,
        )
        .join_from(Token, Account, Account.id == Token.account_id)
        .where(
            Token.secret_hash == digest(secret),
            Token.revoked_at.is_(None),
            Token.expires_at > func.clock_timestamp(),
            active(settings),
        )
    ).one_or_none()
    if row is None:
        return None
    now = datetime.now(UTC)
    if row.used_at is None or now - row.used_at > NOTE_USE_AFTER:
        connection.execute(update(Token).where(Token.id == row.token_id).values(used_at=now, used_from=address))
    return replace(principal_of(row, "token", row.scopes), token=row.token_id, expires=row.expires_at)


def of_account(connection: Connection, account_id: UUID) -> Sequence[AnyRow]:
    """Tokens of an account, the newest first, the ended ones too; at most `LISTED`."""
    mine = select(*_SHOWN).where(Token.account_id == account_id)
    return connection.execute(mine.order_by(Token.created_at.desc(), Token.id.desc()).limit(LISTED)).all()


def living(connection: Connection, account_id: UUID) -> int:
    """How many tokens of an account are good."""
    good = (Token.revoked_at.is_(None), Token.expires_at > func.clock_timestamp())
    return connection.execute(
        select(func.count()).select_from(Token).where(Token.account_id == account_id, *good)
    ).scalar_one()


def revoke(connection: Connection, account_id: UUID, token_id: UUID) -> AnyRow | None:
    """End a token of an account at once, with those made with it; None when it has none of that id."""
    _hold(connection, account_id)
    found = connection.execute(_END, {"token": token_id, "account": account_id}).scalar()
    if found is None:
        return None
    return connection.execute(select(*_SHOWN).where(Token.id == token_id)).one()


def _hold(connection: Connection, account_id: UUID) -> None:
    """Let nobody else make or end a token of the account until this transaction is over."""
    connection.execute(select(Account.id).where(Account.id == account_id).with_for_update(key_share=True))


_END = text("""
    WITH RECURSIVE ended AS (
        SELECT id FROM token WHERE id = :token AND account_id = :account
        UNION
        SELECT token.id FROM token JOIN ended ON token.made_with = ended.id
    ), noted AS (
        UPDATE token SET revoked_at = clock_timestamp() WHERE id IN (SELECT id FROM ended) AND revoked_at IS NULL
    )
    SELECT id FROM ended WHERE id = :token
""")
