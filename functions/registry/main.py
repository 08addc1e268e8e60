"""registry: the REST API and the web interface."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.api import app


def handle(request: Request) -> Response:
    """Answer one request of a person or a program."""
    return app.respond(request)
