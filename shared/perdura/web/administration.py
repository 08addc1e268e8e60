"""Administration: users with their roles and tokens, grants, pipelines, settings."""

from __future__ import annotations

from uuid import UUID

from flask import Response
from sqlalchemy import select

from perdura.accounts import directory, grants, tokens
from perdura.accounts.principals import Permission, Role
from perdura.api import cursors, naming
from perdura.api.models.accounts import GrantPage, GrantQuery, GrantRequest, UserChange
from perdura.api.models.steering import PipelineRequest
from perdura.api.problems import Problem, not_found, problem_of
from perdura.api.resources import grants as grant_resource
from perdura.api.resources import pipelines, subscriptions, users
from perdura.api.resources.settings import shown
from perdura.errors import Rejected
from perdura.registry.tables import Pipeline
from perdura.registry.transitions import FOLLOWERS
from perdura.web import paging
from perdura.web.query_string import checked
from perdura.web.visit import Visit, see_other

PAGE = 50
BASE = "/administration"
GRANT_FILTERS = ("user", "group", "archive", "collection", "own")


def start(visit: Visit) -> Response:
    """Administration begins with the users."""
    visit.require(Permission.ADMINISTER)
    return see_other(f"{BASE}/users")


def list_users(visit: Visit) -> Response:
    """Accounts, the newest first."""
    visit.require(Permission.ADMINISTER)
    text, cursor = (visit.request.args.get(name, "").strip()[:500] for name in ("q", "cursor"))
    after = cursors.place(cursor)
    rows = directory.page(visit.connection, text=text[:200], limit=PAGE + 1, after=after)
    shown, last = cursors.cut(rows, PAGE)
    following = paging.following(f"{BASE}/users", last, q=text or None)
    return visit.page("administration_users.html", users=shown, text=text, following=following)


def show_user(visit: Visit, user_id: UUID) -> Response:
    """One account: roles, tokens, subscriptions, grants."""
    visit.require(Permission.ADMINISTER)
    row = directory.find(visit.connection, user_id)
    if row is None:
        raise not_found("user")
    return visit.page(
        "administration_user.html",
        user=row,
        roles=list(Role),
        tokens=tokens.of_account(visit.connection, user_id),
        subscriptions=subscriptions.of_user(visit, user_id),
        grants=grants.page(visit.connection, account=user_id, own=False, limit=PAGE, after=None),
        own=user_id == visit.principal.account,
    )


def change_user(visit: Visit, user_id: UUID) -> Response:
    """Give an account other roles, or shut or open it."""
    visit.require(Permission.ADMINISTER)
    disabled = visit.form(("disabled",))["disabled"]
    if disabled:
        change = UserChange(roles=None, disabled=disabled == "yes")
    else:
        known = {role.value for role in Role}
        given = [Role(role) for role in visit.request.form.getlist("role") if role in known]
        change = UserChange(roles=given, disabled=None)
    users.change_account(visit, user_id, change)
    return see_other(f"{BASE}/users/{user_id}")


def end_token(visit: Visit, user_id: UUID, token_id: UUID) -> Response:
    """End a token of an account."""
    visit.require(Permission.ADMINISTER)
    visit.form(())
    users.revoke_token(visit, user_id, token_id)
    return see_other(f"{BASE}/users/{user_id}")


def end_subscription(visit: Visit, user_id: UUID, subscription_id: UUID) -> Response:
    """End a subscription of an account."""
    visit.require(Permission.ADMINISTER)
    visit.form(())
    subscriptions.end_of_user(visit, user_id, subscription_id)
    return see_other(f"{BASE}/users/{user_id}")


def list_grants(visit: Visit) -> Response:
    """Grants, the newest first, and a form for another."""
    visit.require(Permission.ADMINISTER)
    return _grants(visit)


def give_grant(visit: Visit) -> Response:
    """Let an account or a group see a restricted Archive or Collection."""
    visit.require(Permission.ADMINISTER)
    fields = visit.form(("holder", "holder_kind", "object", "object_kind"))
    sent = {fields["holder_kind"]: fields["holder"], fields["object_kind"]: fields["object"]}
    try:
        wanted = checked(GrantRequest, sent)
        naming.check(visit.connection, visit.principal, naming.in_model(wanted, "form"))
        grant_resource.create_grant(visit, wanted)
    except Problem as problem:
        return _grants(visit, problem=problem, sent=fields)
    return see_other(f"{BASE}/grants")


def take_grant(visit: Visit, grant_id: UUID) -> Response:
    """Take a grant back."""
    visit.require(Permission.ADMINISTER)
    visit.form(())
    grant_resource.delete_grant(visit, grant_id)
    return see_other(f"{BASE}/grants")


def _grants(visit: Visit, *, problem: Problem | None = None, sent: dict[str, str] | None = None) -> Response:
    """Grants as the address asks for them; those of makers, which are as many as Archives, only on demand."""
    asked = {name: visit.request.args.get(name, "").strip() for name in GRANT_FILTERS}
    kept = {name: value or None for name, value in asked.items()}
    place = {"own": None if asked["own"] else False, "limit": PAGE, "cursor": visit.request.args.get("cursor")}
    found, wrong = GrantPage(items=[], next=None), problem
    try:
        found = grant_resource.list_grants(visit, checked(GrantQuery, kept | place, "query"))
    except Problem as refused:
        wrong = problem or refused
    return visit.page(
        "administration_grants.html",
        status=wrong.status if wrong is not None else 200,
        grants=found.items,
        wanted=asked,
        following=paging.following(f"{BASE}/grants", found.next, **kept),
        problem=wrong,
        sent=sent or {"holder": "", "holder_kind": "user", "object": "", "object_kind": "archive"},
    )


def list_pipelines(visit: Visit) -> Response:
    """The pipelines, and a form for each."""
    visit.require(Permission.ADMINISTER)
    return _pipelines(visit)


def save_pipeline(visit: Visit) -> Response:
    """Make or replace a pipeline; its steps are checked before anything is stored."""
    visit.require(Permission.ADMINISTER)
    fields = visit.form(("name", "steps", "description"))
    try:
        steps = fields["steps"].replace(",", " ").split()
        wanted = checked(PipelineRequest, {"steps": steps, "description": fields["description"]})
        pipelines.put_pipeline(visit, fields["name"], wanted)
    except (Problem, Rejected) as refused:
        return _pipelines(visit, problem=problem_of(refused), sent=fields)
    visit.detail |= {"name": fields["name"], "steps": wanted.steps}
    return see_other(f"{BASE}/pipelines")


def remove_pipeline(visit: Visit, name: str) -> Response:
    """Forget a pipeline; Archives that go through it keep theirs."""
    visit.require(Permission.ADMINISTER)
    visit.form(())
    pipelines.delete_pipeline(visit, name)
    visit.detail |= {"name": name}
    return see_other(f"{BASE}/pipelines")


def _pipelines(visit: Visit, *, problem: Problem | None = None, sent: dict[str, str] | None = None) -> Response:
    return visit.page(
        "administration_pipelines.html",
        status=problem.status if problem is not None else 200,
        pipelines=visit.connection.execute(select(Pipeline.__table__).order_by(Pipeline.name)).all(),
        standard=pipelines.STANDARD,
        followers={step: sorted(after) for step, after in FOLLOWERS.items()},
        problem=problem,
        sent=sent or {"name": "", "steps": "", "description": ""},
    )


def list_settings(visit: Visit) -> Response:
    """The settings of the registry; of a secret only whether it is set."""
    visit.require(Permission.ADMINISTER)
    return visit.page("administration_settings.html", settings=shown(visit.services.settings))
