"""Announcing packages that lie in the object store already, from a plain form: those listed, or all below a prefix."""

from __future__ import annotations

import re
from typing import Any

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import naming
from perdura.api.models.announcements import AnnouncementRequest
from perdura.api.problems import Problem, problem_of
from perdura.api.resources import announcements
from perdura.errors import PerduraError
from perdura.web import adding, collection_choice
from perdura.web.query_string import checked
from perdura.web.visit import Visit, see_other

_FIELDS = ("bucket", "prefix", "packages", "collection")
_DIGEST = re.compile(r"([0-9a-f]{64})[ \t]+\*?(.+)")


def announce(visit: Visit) -> Response:
    """Have the packages ingested, and show the job that tells what becomes of each."""
    visit.require(Permission.DEPOSIT)
    sent = visit.form(_FIELDS)
    try:
        wanted = checked(AnnouncementRequest, _given(visit, sent))
        naming.check(visit.connection, visit.principal, naming.in_model(wanted, "form"))
        job = announcements.begin(visit, wanted)
    except (Problem, PerduraError) as error:
        return adding.refused(visit, problem_of(error), sent)
    return see_other(f"/jobs/{job}")


def _given(visit: Visit, sent: dict[str, str]) -> dict[str, Any]:
    """The form as the API takes it; what was left empty is not there."""
    read = {**sent, "collection": collection_choice.chosen(visit, "collection", sent["collection"])}
    given: dict[str, Any] = {name: read[name] for name in ("bucket", "prefix", "collection") if read[name]}
    if packages := read_keys(sent["packages"]):
        given["packages"] = packages
    return given


def read_keys(text: str) -> list[dict[str, str]]:
    """The packages of a text: on each line a key, with its SHA-256 before it if wanted, as `sha256sum` writes them."""
    packages = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        digest = _DIGEST.fullmatch(line)
        packages.append({"key": digest[2], "sha256": digest[1]} if digest else {"key": line})
    return packages
