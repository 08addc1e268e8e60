"""The errors of the FTS REST server in its own words."""

from __future__ import annotations

from perdura.local.tape.http import Response, as_json, reason

INTERNAL = (
    "The server encountered an internal error and was unable to complete your request. Either the server is "
    "overloaded or there is an error in the application."
)
NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check your spelling and "
    "try again."
)
NOT_ALLOWED = "The method is not allowed for the requested URL."
NO_RIGHT = "Not enough permissions"


class Refused(Exception):
    """A request is refused; the service answers with `status` and `message`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Crash(Refused):
    """The real server fails with its generic 500 here."""

    def __init__(self) -> None:
        super().__init__(500, INTERNAL)


def status_line(status: int) -> str:
    """`404 Not Found`."""
    return f"{status} {reason(status)}"


def problem(status: int, message: str) -> Response:
    """The normal error body (fts-cta.md 2.1)."""
    return as_json({"status": status_line(status), "message": message}, status)


def html(status: int, message: str) -> Response:
    """The HTML errors of the authentication layer."""
    name = reason(status)
    text = f"<title>{status} {name}</title>\n<h1>{name}</h1>\n<p>{message}</p>\n"
    body = f'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n{text}'
    return Response(status, body.encode(), {"Content-Type": "text/html; charset=utf-8"})


def no_job(job_id: str) -> str:
    """The message for an unknown job."""
    return f'No job with the id "{job_id}" has been found'


def foreign_job(job_id: str) -> str:
    """The message for a job of another VO."""
    return f'Not enough permissions to check the job "{job_id}"'
