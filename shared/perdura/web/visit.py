"""One request for a page: who looks, what they may do, and how a page or a redirect is answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from flask import Response

from perdura.accounts.principals import Permission
from perdura.accounts.sessions import Session
from perdura.api.operations import Call
from perdura.api.problems import Problem
from perdura.api.sessions import CSRF_FIELD, CSRF_HEADER, check_csrf
from perdura.web.language import language_headers
from perdura.web.templates import render

FORM_LIMIT = 64 * 1024
"""Largest form in bytes; files are not sent this way."""


@dataclass
class Visit(Call):
    """A call by a person with a browser."""

    session: Session | None = None

    @property
    def is_fragment(self) -> bool:
        """Whether only a part of the page is wanted (htmx)."""
        return self.request.headers.get("HX-Request") == "true"

    @property
    def address(self) -> str:
        """The address of this page with its query, to be fetched again."""
        return self.request.full_path.rstrip("?")

    def page(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """A rendered page."""
        token = self.session.csrf if self.session is not None else ""
        body = render(
            template,
            principal=self.principal,
            csrf=token,
            path=self.request.path,
            organisation=self.services.settings.organisation,
            may={permission.value for permission in self.principal.permissions},
            **context,
        )
        return Response(body, status=status, mimetype="text/html", headers=language_headers())

    def require(self, permission: Permission) -> None:
        """Raise the problem that sends a stranger to the sign-in page, and anybody else away."""
        if self.principal.may(permission):
            return
        if self.principal.means == "nothing":
            raise SignInFirst(self.address if self.request.method == "GET" else "/")
        raise Problem(403, f"This needs the permission {permission.value!r}.", "forbidden")

    def form(self, names: Iterable[str]) -> dict[str, str]:
        """The named fields of a form from one of our own pages, absent ones empty; raises a 403 or 413."""
        if (self.request.content_length or 0) > FORM_LIMIT:
            raise Problem(413, "The form is too large.", "too-large")
        self.request.max_content_length = FORM_LIMIT
        self.check_csrf(self.request.form.get(CSRF_FIELD))
        return {name: self.request.form.get(name, "").strip() for name in names}

    def check_csrf(self, presented: str | None) -> None:
        """Raise a 403 unless the request comes from one of our own pages."""
        if self.session is not None:
            sent = presented or self.request.headers.get(CSRF_HEADER)
            check_csrf(self.request, self.session, self.services.settings, sent)


class SignInFirst(Problem):
    """Sends the caller to the sign-in page and from there back to `target`."""

    def __init__(self, target: str) -> None:
        super().__init__(303, "Sign in first.", "sign-in", headers={"Location": sign_in_address(target)})


def sign_in_address(target: str) -> str:
    """The sign-in page that leads on to `target`."""
    return f"/sign-in?next={quote(target, safe='/')}" if target not in {"", "/"} else "/sign-in"


def own_path(target: str) -> str:
    """`target` when it is a path of this site, else the start page: no redirect ever leads elsewhere."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return target if safe and all(character.isprintable() for character in target) else "/"


def see_other(location: str) -> Response:
    """303: the answer to a form."""
    return Response(status=303, headers={"Location": location, "Cache-Control": "no-store"})
