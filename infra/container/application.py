"""The WSGI application of one function in a container: functions-framework's, and OpenFaaS's cron in front of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib.resources import files
from threading import Lock
from typing import Any
from uuid import uuid4

import functions_framework
from werkzeug.wsgi import ClosingIterator

CRON_TOPIC = "CRON_TOPIC"
"""Variable: `X-Topic` of requests from OpenFaaS's cron connector, which sends no CloudEvents (serverless.md §1.10)."""

TICK = "dev.knative.sources.ping"

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def main_of(name: str) -> str:
    """The path of a function's `main.py`. Raises SystemExit for a name that is none."""
    folders = files("perdura").joinpath("_functions").iterdir()
    mains = {folder.name: folder.joinpath("main.py") for folder in folders if folder.joinpath("main.py").is_file()}
    if name not in mains:
        raise SystemExit(f"FUNCTION must be one of {', '.join(sorted(mains))}; it is {name!r}")
    return str(mains[name])


def credential() -> str:
    """The `Authorization` that this container shows itself, where its function takes events with a token only."""
    from perdura.settings import settings

    tokens = settings().events_token
    return f"Bearer {tokens.get_secret_value().split()[0]}" if tokens else ""


def with_cron(application: Application, topic: str) -> Application:
    """The same application, which sees a tick of the cron connector as the CloudEvent a PingSource would send.

    The connector has no credential. So what it sends says no more than that it is time, and while one tick is under
    way another is none: a stranger who imitates it makes nothing happen that would not happen by itself.
    """
    ticking = Lock()

    def respond(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_X_TOPIC") != topic or "HTTP_CE_TYPE" in environ:
            return application(environ, start_response)
        if not ticking.acquire(blocking=False):
            start_response("204 No Content", [])
            return []
        try:
            environ |= {
                "HTTP_CE_SPECVERSION": "1.0",
                "HTTP_CE_ID": str(uuid4()),
                "HTTP_CE_SOURCE": "/openfaas/cron",
                "HTTP_CE_TYPE": TICK,
                "CONTENT_TYPE": "application/json",
                "REQUEST_METHOD": "POST",
                "PATH_INFO": "/",
                "HTTP_AUTHORIZATION": credential(),
            }
            return ClosingIterator(application(environ, start_response), ticking.release)
        except BaseException:
            ticking.release()
            raise

    return respond


def create() -> Application:
    """The application of the function that the environment names."""
    application: Application = functions_framework.create_app("handle", main_of(os.environ["FUNCTION"]), "http")
    topic = os.environ.get(CRON_TOPIC)
    return with_cron(application, topic) if topic else application
