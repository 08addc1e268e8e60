"""Accounts: made at the first sign-in, brought up to date by each following one, never removed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from perdura.accounts import audit
from perdura.accounts.principals import ANONYMOUS, Permission, Principal, Role, local_sign_in
from perdura.accounts.tables import Account
from perdura.database import AnyRow
from perdura.ids import new_id
from perdura.settings import Settings

LONGEST_NAME = 200
NOTE_USE_AFTER = timedelta(seconds=60)
LOCAL = "local"
"""Kind of the account that the administrator's token opens."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom an identity provider says that somebody is; `kind` is person or service.

    Name, e-mail and groups are None where it does not say them; `client` is the program it speaks to.
    """

    kind: str
    issuer: str
    subject: str
    name: str | None
    email: str | None
    groups: frozenset[str] | None
    roles: frozenset[Role]
    client: str | None = None

    @property
    def called(self) -> str:
        """The best name there is."""
        return self.name or self.client or self.subject[:LONGEST_NAME]


def sign_in(connection: Connection, identity: Identity) -> AnyRow:
    """The account of an identity, made or brought up to date."""
    said = {
        "name": identity.called,
        "email": identity.email,
        "groups": sorted(identity.groups or ()),
        "claimed_roles": sorted(identity.roles),
        "seen_at": func.clock_timestamp(),
    }
    statement = insert(Account).values(
        id=new_id(), kind=identity.kind, issuer=identity.issuer, subject=identity.subject, **said
    )
    statement = statement.on_conflict_do_update(index_elements=["issuer", "subject"], set_=said)
    return connection.execute(statement.returning(*Account.__table__.c)).one()


def recall(connection: Connection, identity: Identity) -> AnyRow:
    """The account of an identity that shows itself with every request: written to only when something is new.

    What its token leaves out stays as it was told at the last sign-in. An account that is made of it is in the audit
    log.
    """
    row = connection.execute(
        select(Account.__table__).where(Account.issuer == identity.issuer, Account.subject == identity.subject)
    ).one_or_none()
    if row is None:
        made = sign_in(connection, identity)
        named = {"issuer": identity.issuer, "subject": identity.subject}
        act = audit.Act("make_account", audit.DONE, "", "", 201, (str(made.id),), named)
        audit.record(connection, principal_of(made, identity.kind), act)
        return made
    identity = _completed(identity, row)
    if row.seen_at is None or datetime.now(UTC) - row.seen_at > NOTE_USE_AFTER:
        return sign_in(connection, identity)
    told = (row.name, row.email, frozenset(row.groups), frozenset(row.claimed_roles))
    if told != (identity.name, identity.email, identity.groups, identity.roles):
        return sign_in(connection, identity)
    return row


def _completed(identity: Identity, account: AnyRow) -> Identity:
    known = {role.value for role in Role}
    silent = identity.groups is None
    return replace(
        identity,
        name=identity.name or account.name,
        email=identity.email or account.email,
        groups=frozenset(account.groups) if silent else identity.groups,
        roles=frozenset(Role(role) for role in known & set(account.claimed_roles)) if silent else identity.roles,
    )


def principal_of(account: AnyRow, means: str, scopes: Iterable[str] | None = None) -> Principal:
    """The caller that an account is; scopes and roles that this version does not know are left out."""
    known = {role.value for role in Role}
    return Principal(
        name=account.name,
        roles=frozenset(Role(role) for role in {*account.roles, *account.claimed_roles} & known),
        means=means,
        account=account.id,
        groups=frozenset(account.groups),
        scopes=None if scopes is None else frozenset(scope for scope in Permission if scope.value in set(scopes)),
    )


def active(settings: Settings) -> ColumnElement[bool]:
    """The condition on `account` rows that may be used at present."""
    enabled = Account.disabled_at.is_(None)
    return enabled if local_sign_in(settings) else enabled & (Account.kind != LOCAL)


def asking(
    connection: Connection, settings: Settings, account_id: UUID | None, scopes: Iterable[str] | None = None
) -> Principal:
    """For whom work is done in the background: the account as it is now, within the scopes of who asked for it.

    Nobody in particular where there is none, or where it may not be used.
    """
    wanted = select(Account.__table__).where(Account.id == account_id, active(settings))
    row = connection.execute(wanted).one_or_none() if account_id is not None else None
    return ANONYMOUS if row is None else principal_of(row, "job", scopes)


def is_shut(connection: Connection, account_id: UUID) -> bool:
    """Whether an administrator shut the account."""
    return bool(connection.execute(select(Account.disabled_at).where(Account.id == account_id)).scalar())


def find(connection: Connection, account_id: UUID) -> AnyRow | None:
    """One account."""
    return connection.execute(select(Account.__table__).where(Account.id == account_id)).one_or_none()


def page(connection: Connection, *, text: str | None, limit: int, after: tuple[Any, UUID] | None) -> Sequence[AnyRow]:
    """At most `limit` accounts, the newest first, whose name, e-mail or subject contains `text`."""
    statement = select(Account.__table__).order_by(Account.created_at.desc(), Account.id.desc()).limit(limit)
    if text:
        columns = (Account.name, Account.email, Account.subject)
        statement = statement.where(or_(*(column.icontains(text, autoescape=True) for column in columns)))
    if after is not None:
        statement = statement.where(tuple_(Account.created_at, Account.id) < after)
    return connection.execute(statement).all()


def change(
    connection: Connection, account_id: UUID, *, roles: Iterable[Role] | None = None, disabled: bool | None = None
) -> AnyRow | None:
    """Give an account other roles, or shut or open it; None when there is none."""
    values: dict[str, Any] = {}
    if roles is not None:
        values["roles"] = sorted(set(roles))
    if disabled is not None:
        values["disabled_at"] = func.coalesce(Account.disabled_at, func.clock_timestamp()) if disabled else None
    if not values:
        return find(connection, account_id)
    statement = update(Account).where(Account.id == account_id).values(**values)
    return connection.execute(statement.returning(*Account.__table__.c)).one_or_none()
