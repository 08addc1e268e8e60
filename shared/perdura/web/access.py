"""The access pages: every published Archive has a landing page, and each of its files can be had alone.

Nothing is stored twice: files are read by range out of the AIP's tar. An Archive that is restricted, or not published,
does not exist here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from flask import Request, Response
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from perdura.api.file_paths import CONVERTERS
from perdura.api.headers import secure
from perdura.api.problems import Problem, method_not_allowed, not_found, problem_of, respond_with
from perdura.api.services import Services
from perdura.runtime.environment import environment
from perdura.web import dip, landing, listing, previews, static
from perdura.web.language import choose, language_headers, spoken
from perdura.web.oai import server as oai
from perdura.web.reading import Reading
from perdura.web.templates import render


@cache
def routes() -> Map:
    """Every address of the access pages, with what answers it."""

    def get(path: str, page: Callable[..., Response]) -> Rule:
        return Rule(path, methods=["GET"], endpoint=page)

    archive = "/archives/<uuid:archive_id>"
    return Map(
        [
            get("/", listing.start),
            get("/archives", listing.start),
            get("/robots.txt", listing.robots),
            get("/sitemap.xml", listing.sitemap),
            get(archive, landing.show),
            get(f"{archive}/metadata.json", landing.as_json),
            get(f"{archive}/schema.json", landing.as_json_ld),
            get(f"{archive}/datacite.json", landing.as_datacite),
            get(f"{archive}/premis.xml", landing.as_premis),
            get(f"{archive}/linkset.json", landing.as_linkset),
            get(f"{archive}/files", landing.list_files),
            get(f"{archive}/files/<path:path>", landing.file),
            get(f"{archive}/view/<path:path>", previews.show),
            get(f"{archive}/aip", landing.aip),
            get(f"{archive}/files.zip", dip.zipped),
            Rule("/oai", methods=["GET", "POST"], endpoint=oai.answer),
        ],
        strict_slashes=False,
        merge_slashes=False,
        converters=CONVERTERS,
    )


def respond(request: Request, services: Services | None = None) -> Response:
    """Answer any reader. Never raises; `services` replaces the process's own, for tests."""
    services = services or environment()
    with spoken(choose(services.settings, request.accept_languages), services.settings):
        try:
            response = _answer(request, services)
        except Exception as error:
            response = _refuse(request, problem_of(error), services)
    secure(response, services.settings)
    if request.method == "HEAD" and not response.direct_passthrough:
        response.response = []
    return response


def _answer(request: Request, services: Services) -> Response:
    if request.path.startswith("/assets/"):
        return static.respond(request)
    adapter = routes().bind("")
    try:
        page, variables = adapter.match(request.path, method=request.method)
    except MethodNotAllowed as refused:
        raise method_not_allowed(refused.valid_methods or ()) from None
    except NotFound:
        raise not_found("page") from None
    with Reading(request, services) as reading:
        response: Response = page(reading, **variables)
    return response


def _refuse(request: Request, problem: Problem, services: Services) -> Response:
    best = request.accept_mimetypes.best_match(["text/html", "application/json"], default="text/html")
    if best == "application/json":
        return respond_with(problem)
    body = render("access_problem.html", problem=problem, organisation=services.settings.organisation)
    response = Response(body, status=problem.status, mimetype="text/html", headers=language_headers())
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response
