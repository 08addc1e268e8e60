"""Who may see what: the one place where it is decided, for listings as for every id that a request names.

An Archive is seen by everybody who may read, unless it is restricted. A restricted one is seen by those who hold
`read-restricted`, and by those to whom it, or a Collection that it is in, was granted (whoever deposited it among
them). What somebody may not see does not exist for them. An embargo shuts the files of an Archive to the same people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    SQLColumnExpression,
    any_,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Permission, Principal
from perdura.accounts.tables import Account, Grant
from perdura.ids import new_id
from perdura.registry.tables import Archive, Collection, CollectionMember, Deposit, Package, Step


class Thing(StrEnum):
    """Kinds of things that carry object rights, or hang on an Archive that does.

    Mark every id of one: a variable of a path is called `<thing>_id`, a member of a body or query is annotated
    `Annotated[UUID, Thing.ARCHIVE]`. The API then checks it before an operation runs.
    """

    ARCHIVE = "archive"
    COLLECTION = "collection"
    DEPOSIT = "deposit"
    PACKAGE = "package"
    STEP = "step"


def visible_archives(principal: Principal) -> ColumnElement[bool]:
    """The condition on `archive` rows that the principal may see."""
    return visible_where(principal, Archive.restricted, Archive.id)


def visible_where(
    principal: Principal, restricted: SQLColumnExpression[bool], archive: SQLColumnExpression[UUID]
) -> ColumnElement[bool]:
    """The same condition where a row says of an Archive whether it is restricted."""
    if principal.may(Permission.READ_RESTRICTED):
        return true()
    granted = granted_archives(principal)
    public = restricted.is_(False)
    return public if granted is None else or_(public, archive.in_(granted))


def hides(principal: Principal) -> bool:
    """Whether any Archive may be hidden from the principal: what is counted of all is not for them."""
    return not principal.may(Permission.READ_RESTRICTED)


def trusted_archives(principal: Principal) -> ColumnElement[bool]:
    """The condition on `archive` rows that are open to the principal whatever restriction or embargo is on them."""
    if principal.may(Permission.READ_RESTRICTED):
        return true()
    held = _held_by(principal)
    if held is None:
        return false()
    together = exists().where(
        held, Grant.collection_id == CollectionMember.collection_id, CollectionMember.archive_id == Archive.id
    )
    return or_(exists().where(held, Grant.archive_id == Archive.id), together)


def granted_archives(principal: Principal) -> CompoundSelect[Any] | None:
    """Ids among which are those of the restricted Archives granted to the principal, alone or with a Collection.

    Of an Archive that is granted alone, only while it is restricted: of those that somebody made few are. None for a
    stranger. Each way to hold a grant is a part of its own, which an index of its own answers.
    """
    parts: list[Select[Any]] = []
    for held in _ways_to_hold(principal):
        parts.append(select(Grant.archive_id).where(held, Grant.restricted))
        parts.append(
            select(CollectionMember.archive_id)
            .join(Grant, Grant.collection_id == CollectionMember.collection_id)
            .where(held, Grant.collection_id.is_not(None))
        )
    return union_all(*parts) if parts else None


def visible_collections(principal: Principal) -> ColumnElement[bool]:
    """The condition on `collection` rows that the principal may see."""
    if principal.may(Permission.READ_RESTRICTED):
        return true()
    public = Collection.restricted.is_(False)
    held = _held_by(principal)
    if held is None:
        return public
    return or_(public, Collection.id.in_(select(Grant.collection_id).where(held, Grant.collection_id.is_not(None))))


def _held_by(principal: Principal) -> ColumnElement[bool] | None:
    """The condition on grants that the principal, or a group of theirs, holds; None for a stranger."""
    ways = _ways_to_hold(principal)
    return or_(*ways) if ways else None


def _ways_to_hold(principal: Principal) -> list[ColumnElement[bool]]:
    """The conditions on grants that the principal holds, and on those that a group of theirs does."""
    ways: list[ColumnElement[bool]] = []
    if principal.account is not None:
        ways.append(Grant.account_id == principal.account)
    if principal.groups:
        groups = literal(sorted(principal.groups), postgresql.ARRAY(postgresql.TEXT))
        ways.append(Grant.group_name == any_(groups))
    return ways


def _of_archive(table: Any) -> Callable[[ColumnElement[bool]], Select[Any]]:
    def query(visible: ColumnElement[bool]) -> Select[Any]:
        return select(table.id).join_from(table, Archive, Archive.id == table.archive_id).where(visible)

    return query


_THROUGH: Mapping[Thing, tuple[Any, Callable[[ColumnElement[bool]], Select[Any]]]] = {
    Thing.ARCHIVE: (Archive.id, lambda visible: select(Archive.id).where(visible)),
    Thing.DEPOSIT: (Deposit.id, _of_archive(Deposit)),
    Thing.PACKAGE: (Package.id, _of_archive(Package)),
    Thing.STEP: (Step.id, _of_archive(Step)),
}


def visible(
    connection: Connection, principal: Principal, named: Iterable[tuple[Thing, UUID]]
) -> frozenset[tuple[Thing, UUID]]:
    """Those of the named things that are there and that the principal may see; one statement for all of them."""
    wanted: dict[Thing, set[UUID]] = {}
    for thing, identifier in named:
        wanted.setdefault(thing, set()).add(identifier)
    if not wanted:
        return frozenset()
    archives = visible_archives(principal)
    parts = []
    for thing, ids in wanted.items():
        if thing is Thing.COLLECTION:
            column: Any = Collection.id
            found = select(Collection.id).where(visible_collections(principal))
        else:
            column, through = _THROUGH[thing]
            found = through(archives)
        listed = literal(sorted(ids), postgresql.ARRAY(postgresql.UUID(as_uuid=True)))
        parts.append(found.where(column == any_(listed)).add_columns(literal(thing.value)))
    rows = connection.execute(union_all(*parts))
    return frozenset((Thing(row[1]), row[0]) for row in rows)


def own(connection: Connection, principal: Principal, archive_id: UUID) -> None:
    """Let whoever asked for an Archive see it, whatever becomes of it."""
    if principal.account is None:
        return
    connection.execute(
        insert(Grant).values(
            id=new_id(), account_id=principal.account, archive_id=archive_id, given_by=principal.name, own=True
        )
    )


def own_for(connection: Connection, account: UUID, archives: Sequence[UUID], *, given_by: str) -> None:
    """Let the account for whom Archives are made see them; nothing happens when there is no such account any more."""
    listed = postgresql.ARRAY(postgresql.UUID(as_uuid=True))
    ids, named = literal([new_id() for _ in archives], listed), literal(list(archives), listed)
    row = (func.unnest(ids), Account.id, func.unnest(named), literal(given_by), true())
    rows = select(*row).where(Account.id == account)
    statement = postgresql.insert(Grant).from_select(["id", "account_id", "archive_id", "given_by", "own"], rows)
    connection.execute(statement.on_conflict_do_nothing(constraint="uq_access_grant"))
