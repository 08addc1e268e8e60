"""registry: the REST API and the web interface."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.runtime.answers import HEALTH_PATHS, probe


def handle(request: Request) -> Response:
    """Answer one request of a person or a program; a probe is answered before API and pages are imported."""
    if request.path in HEALTH_PATHS:
        return probe(request, then_import="perdura.api.app")
    from perdura.api import app

    return app.respond(request)
