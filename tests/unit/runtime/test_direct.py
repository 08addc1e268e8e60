"""A function that answers ahead of its framework's routing."""

from __future__ import annotations

import flask
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from perdura.runtime import direct


def _seen(request: Request) -> Response:
    return Response(f"{request.method} {request.path} {request.get_data().decode()}")


def test_every_request_to_the_application_is_answered_by_the_function() -> None:
    application = flask.Flask("function")
    with application.app_context():
        direct.serve(_seen)
    client = Client(application)
    assert client.post("/APP/event/", data=b"body").text == "POST /APP/event/ body"
    assert client.open("/a//b", method="PATCH").text == "PATCH /a//b "
    assert client.get("/robots.txt").text == "GET /robots.txt "


def test_outside_of_an_application_nothing_happens() -> None:
    direct.serve(_seen)
