"""The reference of the API as one page of plain HTML, made from the OpenAPI document; needs nothing from outside."""

from __future__ import annotations

from flask import Request, Response

from perdura.api import openapi
from perdura.api.problems import method_not_allowed
from perdura.api.services import Services
from perdura.web.templates import render


def page(request: Request, services: Services) -> Response:  # noqa: ARG001
    """The page."""
    if request.method not in {"GET", "HEAD"}:
        raise method_not_allowed(("GET", "HEAD"))
    return Response(render("api.html", document=openapi.document()), mimetype="text/html")
