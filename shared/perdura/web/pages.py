"""The pages of the registry: which address shows which page, and how a refusal looks to a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from flask import Request, Response
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from perdura.accounts.principals import ANONYMOUS, Permission
from perdura.api import auditing, limits, naming, sessions
from perdura.api.addresses import address_of
from perdura.api.authentication import STRANGER, Caller, caller_of
from perdura.api.file_paths import CONVERTERS
from perdura.api.problems import Problem, method_not_allowed, not_found
from perdura.api.services import Services
from perdura.errors import PerduraError
from perdura.web import (
    access_forms,
    account_pages,
    adding,
    administration,
    announcing,
    archive_pages,
    audit_pages,
    collection_pages,
    event_pages,
    failure_pages,
    file_pages,
    job_pages,
    notification_pages,
    schedule_pages,
    signing_in,
    source_pages,
    statistics_pages,
    tape_pages,
    uploading,
)
from perdura.web.language import choose, spoken
from perdura.web.visit import Visit

Page = Callable[..., Response]

POWERS = frozenset(Permission) - {Permission.SELF}
"""Who holds none of these is sent away by every page that is about a thing, before being told whether it is there."""


@cache
def routes() -> Map:
    """Every address of a page, or of a form on one, with what answers it."""

    def get(path: str, page: Page) -> Rule:
        return Rule(path, methods=["GET"], endpoint=page)

    def post(path: str, page: Page) -> Rule:
        return Rule(path, methods=["POST"], endpoint=page)

    return Map(
        [
            get("/", archive_pages.start),
            get("/sign-in", signing_in.ask),
            post("/sign-in", signing_in.sign_in),
            get("/sign-in/start", signing_in.start),
            get("/sign-in/callback", signing_in.callback),
            post("/sign-out", signing_in.sign_out),
            get("/signed-out", signing_in.signed_out),
            get("/archives", archive_pages.listing),
            get("/archives/<uuid:archive_id>", archive_pages.show),
            get("/archives/<uuid:archive_id>/live", archive_pages.live),
            get("/archives/<uuid:archive_id>/files", file_pages.listing),
            get("/archives/<uuid:archive_id>/packages/<uuid:package_id>/view/<path:path>", file_pages.view),
            post("/archives/<uuid:archive_id>/<any(retry,skip,cancel,run):act>", archive_pages.act),
            post("/archives/<uuid:archive_id>/recall", archive_pages.recall),
            post("/archives/<uuid:archive_id>/copies", archive_pages.archive_again),
            post("/archives/<uuid:archive_id>/check", archive_pages.check),
            post("/archives/<uuid:archive_id>/steps/<uuid:step_id>/cancel", archive_pages.cancel_step),
            post("/archives/<uuid:archive_id>/restriction", archive_pages.restrict),
            post("/archives/<uuid:archive_id>/embargo", access_forms.embargo),
            post("/archives/<uuid:archive_id>/withdrawal", access_forms.withdraw),
            post("/archives/<uuid:archive_id>/publication", access_forms.publish),
            post("/archives/<uuid:archive_id>/collections", collection_pages.add_archive),
            get("/jobs", job_pages.listing),
            get("/jobs/new", job_pages.plan),
            post("/jobs", job_pages.begin),
            get("/jobs/<uuid:job_id>", job_pages.show),
            post("/jobs/<uuid:job_id>/cancel", job_pages.cancel),
            get("/collections", collection_pages.listing),
            post("/collections", collection_pages.create),
            get("/collections/<uuid:collection_id>", collection_pages.show),
            post("/collections/<uuid:collection_id>", collection_pages.change),
            post("/collections/<uuid:collection_id>/remove", collection_pages.remove),
            get("/sources", source_pages.listing),
            get("/sources/<string:source>/search", source_pages.search),
            get("/notifications", notification_pages.listing),
            post("/notifications", notification_pages.create),
            post("/notifications/<uuid:subscription_id>/<any(test,end):act>", notification_pages.act),
            get("/schedules", schedule_pages.listing),
            get("/schedules/<uuid:schedule_id>", schedule_pages.show),
            get("/schedules/new", schedule_pages.ask),
            post("/schedules", schedule_pages.create),
            post("/schedules/<uuid:schedule_id>", schedule_pages.change),
            post("/schedules/<uuid:schedule_id>/<any(pause,resume,run,retire):act>", schedule_pages.act),
            get("/runs/<uuid:run_id>", schedule_pages.show_run),
            post("/runs/<uuid:run_id>/<any(pause,resume,cancel,retry):act>", schedule_pages.act_on_run),
            get("/statistics", statistics_pages.show),
            get("/tape", tape_pages.show),
            get("/tape/jobs", tape_pages.jobs),
            post("/tape/<any(pause,resume):act>", tape_pages.act),
            post("/tape/jobs/<uuid:job_id>/<any(cancel,priority):act>", tape_pages.act_on_job),
            get("/add", adding.ask),
            post("/add/preview", adding.preview),
            post("/add/harvest", adding.harvest),
            post("/add/upload", uploading.receive),
            post("/add/announce", announcing.announce),
            get("/failures", failure_pages.listing),
            post("/failures/retry", failure_pages.retry_group),
            get("/events", event_pages.listing),
            get("/audit", audit_pages.listing),
            get("/account", account_pages.show),
            post("/account/tokens", account_pages.make_token),
            post("/account/tokens/<uuid:token_id>/end", account_pages.end_token),
            get("/administration", administration.start),
            get("/administration/users", administration.list_users),
            get("/administration/users/<uuid:user_id>", administration.show_user),
            post("/administration/users/<uuid:user_id>", administration.change_user),
            post("/administration/users/<uuid:user_id>/tokens/<uuid:token_id>/end", administration.end_token),
            post(
                "/administration/users/<uuid:user_id>/subscriptions/<uuid:subscription_id>/end",
                administration.end_subscription,
            ),
            get("/administration/grants", administration.list_grants),
            post("/administration/grants", administration.give_grant),
            post("/administration/grants/<uuid:grant_id>/take", administration.take_grant),
            get("/administration/pipelines", administration.list_pipelines),
            post("/administration/pipelines", administration.save_pipeline),
            post("/administration/pipelines/<string:name>/remove", administration.remove_pipeline),
            get("/administration/settings", administration.list_settings),
        ],
        strict_slashes=False,
        merge_slashes=False,
        converters=CONVERTERS,
    )


def respond(request: Request, services: Services) -> Response:
    """The page at the request's address; raises Problem."""
    with spoken(choose(services.settings, request.accept_languages), services.settings):
        return _respond(request, services)


def _respond(request: Request, services: Services) -> Response:
    adapter = routes().bind("")
    try:
        page, variables = adapter.match(request.path, method=request.method)
    except MethodNotAllowed as refused:
        raise method_not_allowed(refused.valid_methods or ()) from None
    except NotFound:
        raise not_found("page") from None
    caller = STRANGER
    try:
        caller = caller_of(request, services)
        limits.spend(caller.principal, address_of(request, services.settings), services)
        response = _answer(request, services, caller, page, variables)
    except Problem as problem:
        auditing.denied(request, services, caller.principal, _name(page), problem, variables)
        raise
    sessions.renew(response, caller.session, services.settings)
    return response


def _answer(request: Request, services: Services, caller: Caller, page: Page, variables: Mapping[str, Any]) -> Response:
    with Visit(request, caller.principal, services, session=caller.session) as visit:
        named = list(naming.in_path(variables))
        if named and not POWERS.isdisjoint(caller.principal.permissions):
            visit.objects += [name.id for name in naming.check(visit.connection, caller.principal, named)]
        visit.objects += naming.plain_in_path(variables)
        response: Response = page(visit, **variables)
        auditing.done(visit, _name(page), response.status_code)
    services.emitter.after_response(response, visit.emitted)
    return response


def _name(page: Page) -> str:
    """The name of a page in the audit log: `archive_pages.retry`."""
    return f"{page.__module__.rpartition('.')[2]}.{page.__name__}"


def refuse(request: Request, problem: Problem, services: Services) -> Response:
    """A refusal as a page; a fragment that needs a sign-in makes the browser load that page whole."""
    if problem.status == 303:
        location = problem.headers["Location"]
        if request.headers.get("HX-Request") == "true":
            return Response(status=204, headers={"HX-Redirect": location, "Cache-Control": "no-store"})
        return Response(status=303, headers={"Location": location, "Cache-Control": "no-store"})
    try:
        caller = caller_of(request, services)
        visit = Visit(request, caller.principal, services, session=caller.session)
    except (Problem, PerduraError, SQLAlchemyError):
        visit = Visit(request, ANONYMOUS, services)
    with spoken(choose(services.settings, request.accept_languages), services.settings):
        response = visit.page("problem.html", status=problem.status, problem=problem)
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response
