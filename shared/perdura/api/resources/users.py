"""Users: oneself, everybody, their roles and their tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from perdura.accounts import directory, sessions, tokens
from perdura.accounts.principals import PERMISSIONS, Permission, Role
from perdura.accounts.tables import Token
from perdura.api import cursors, links, naming
from perdura.api.models.accounts import (
    MeAnswer,
    RoleAnswer,
    RoleList,
    TokenAnswer,
    TokenCreated,
    TokenList,
    TokenRequest,
    UserAnswer,
    UserChange,
    UserPage,
    UserQuery,
)
from perdura.api.operations import Call, Section
from perdura.api.problems import FieldError, Problem, not_found
from perdura.database import AnyRow

section = Section("Users")

MOST_TOKENS = 100
"""Tokens of one account that are good at the same time."""


@section.get("/users/me", permission=Permission.SELF)
def get_me(call: Call) -> MeAnswer:
    """Who you are here, and what you may do."""
    principal = call.principal
    return MeAnswer(
        id=own_account(call),
        name=principal.name,
        means=principal.means,
        roles=sorted(principal.roles),
        groups=sorted(principal.groups),
        permissions=sorted(principal.permissions),
        links={"self": f"{links.API}/users/me", "tokens": f"{links.API}/users/me/tokens"},
    )


@section.get("/users/me/tokens", permission=Permission.SELF)
def list_my_tokens(call: Call) -> TokenList:
    """Your tokens, the newest first, the ended ones too."""
    return TokenList(items=[token_answer(row) for row in tokens.of_account(call.connection, own_account(call))])


@section.post("/users/me/tokens", permission=Permission.SELF, status=201, confidential=True)
def create_token(call: Call, body: TokenRequest) -> TokenCreated:
    """Make a token for a program of yours. Its secret is in this answer and nowhere else.

    A token never allows more than your roles do, nor more than the token allows that asks for it.
    """
    row, secret = issue_token(call, body)
    return TokenCreated(**token_answer(row).model_dump(), token=secret)


@section.delete("/users/me/tokens/<uuid:token_id>", permission=Permission.SELF)
def revoke_my_token(call: Call, token_id: UUID) -> TokenAnswer:
    """End one of your tokens at once."""
    return revoke_token(call, own_account(call), token_id)


@section.get("/users", permission=Permission.ADMINISTER)
def list_users(call: Call, query: UserQuery) -> UserPage:
    """List accounts, the newest first."""
    after = cursors.place(query.cursor)
    rows = directory.page(call.connection, text=query.q, limit=query.limit + 1, after=after)
    shown, following = cursors.cut(rows, query.limit)
    return UserPage(
        items=[user_answer(row) for row in shown],
        next=following,
    )


@section.get("/users/<uuid:user_id>", permission=Permission.ADMINISTER)
def get_user(call: Call, user_id: UUID) -> UserAnswer:
    """One account."""
    row = directory.find(call.connection, user_id)
    if row is None:
        raise not_found("user")
    return user_answer(row)


@section.patch("/users/<uuid:user_id>", permission=Permission.ADMINISTER)
def change_user(call: Call, user_id: UUID, body: UserChange) -> UserAnswer:
    """Give an account other roles, or shut or open it. Shutting ends its sessions and stops its tokens.

    409 for taking away your own right to do this.
    """
    return user_answer(change_account(call, user_id, body))


@section.get("/users/<uuid:user_id>/tokens", permission=Permission.ADMINISTER)
def list_tokens_of_user(call: Call, user_id: UUID) -> TokenList:
    """Tokens of an account."""
    if directory.find(call.connection, user_id) is None:
        raise not_found("user")
    return TokenList(items=[token_answer(row) for row in tokens.of_account(call.connection, user_id)])


@section.delete("/users/<uuid:user_id>/tokens/<uuid:token_id>", permission=Permission.ADMINISTER)
def revoke_token_of_user(call: Call, user_id: UUID, token_id: UUID) -> TokenAnswer:
    """End a token of an account at once."""
    return revoke_token(call, user_id, token_id)


@section.get("/roles", permission=Permission.SELF)
def list_roles(call: Call) -> RoleList:  # noqa: ARG001
    """List the roles and what each allows."""
    return RoleList(items=[RoleAnswer(name=role, permissions=sorted(PERMISSIONS[role])) for role in Role])


def own_account(call: Call) -> UUID:
    """The account of the caller, who has one: the permission `self` says so."""
    if call.principal.account is None:
        raise not_found("user")
    return call.principal.account


def issue_token(call: Call, wanted: TokenRequest) -> tuple[AnyRow, str]:
    """A new token of the caller and its secret; raises a 403 for scopes, a 422 for a life that are not the caller's.

    One that is asked for with a token lives no longer than that one.
    """
    beyond = [scope for scope in wanted.scopes if not call.principal.may(scope)]
    if beyond:
        told = FieldError("body.scopes", f"you do not hold {', '.join(sorted(beyond))}")
        raise Problem(403, "A token allows no more than its owner may.", "scope", (told,))
    if tokens.living(call.connection, own_account(call)) >= MOST_TOKENS:
        raise Problem(409, f"You have {MOST_TOKENS} tokens: revoke one first.", "too-many-tokens")
    longest = call.services.settings.token_days
    if wanted.days > longest:
        told = FieldError("body.days", f"at most {longest}")
        raise Problem(422, "The token would live too long.", "token-life", (told,))
    ends = datetime.now(UTC) + timedelta(days=wanted.days)
    row, secret = tokens.issue(
        call.connection,
        own_account(call),
        name=wanted.name,
        scopes=wanted.scopes,
        expires_at=min(ends, call.principal.expires or ends),
        made_with=call.principal.token,
    )
    call.objects.append(row.id)
    call.detail |= {"name": row.name, "scopes": list(row.scopes)}
    return row, secret


def revoke_token(call: Call, user_id: UUID, token_id: UUID) -> TokenAnswer:
    """End a token of an account; raises a 404."""
    row = tokens.revoke(call.connection, user_id, token_id)
    if row is None:
        raise naming.missing(call.connection, "token", Token.id, token_id)
    call.objects += [user_id, token_id]
    return token_answer(row)


def change_account(call: Call, user_id: UUID, change: UserChange) -> AnyRow:
    """Change an account; raises a 404, or a 409 for locking oneself out."""
    if user_id == call.principal.account:
        loses = change.roles is not None and Role.ADMINISTRATOR not in change.roles
        if change.disabled or loses:
            raise Problem(409, "You would lock yourself out. Let another administrator do it.", "locked-out")
    row = directory.change(call.connection, user_id, roles=change.roles, disabled=change.disabled)
    if row is None:
        raise not_found("user")
    if change.disabled:
        sessions.end_all(call.connection, user_id)
    call.objects.append(user_id)
    call.detail |= change.model_dump(exclude_none=True, mode="json")
    return row


def user_answer(row: AnyRow) -> UserAnswer:
    """An account as it is sent."""
    address = f"{links.API}/users/{row.id}"
    return UserAnswer(
        id=row.id,
        kind=row.kind,
        name=row.name,
        email=row.email,
        issuer=row.issuer,
        subject=row.subject,
        roles=row.roles,
        claimed_roles=row.claimed_roles,
        groups=row.groups,
        disabled=row.disabled_at,
        created=row.created_at,
        seen=row.seen_at,
        links={"self": address, "tokens": f"{address}/tokens", "audit": f"{links.API}/audit?user={row.id}"},
    )


def token_answer(row: AnyRow) -> TokenAnswer:
    """A token as it is sent."""
    return TokenAnswer(
        id=row.id,
        name=row.name,
        scopes=row.scopes,
        created=row.created_at,
        expires=row.expires_at,
        revoked=row.revoked_at,
        used=row.used_at,
        used_from=row.used_from,
    )
