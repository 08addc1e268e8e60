"""Adding material: paste an address, see what it is, have it harvested; or send a package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.problems import Problem
from perdura.api.queries import archives
from perdura.api.resources import harvests
from perdura.errors import PerduraError
from perdura.registry import archives as registry
from perdura.sources.catalogue import recognise
from perdura.storage.drop_zone import open_buckets
from perdura.web import collection_choice
from perdura.web.language import translate
from perdura.web.visit import Visit, see_other

LONGEST_ADDRESS = 2000
FILES_SHOWN = 50
NOTHING_ANNOUNCED = {"bucket": "", "prefix": "", "packages": "", "collection": ""}


def ask(visit: Visit) -> Response:
    """The page for adding."""
    visit.require(Permission.DEPOSIT)
    return _page(visit)


def _page(visit: Visit, *, url: str = "", problem: str = "", status: int = 200) -> Response:
    return _shown(visit, url=url, problem=problem, preview=None, known=[], shown=0, status=status)


def refused(visit: Visit, problem: Problem, sent: Mapping[str, str]) -> Response:
    """The page with what was wrong with an announcement, and what was sent of it."""
    nothing: dict[str, Any] = {"url": "", "problem": "", "preview": None, "known": [], "shown": 0}
    return _shown(visit, **nothing, refusal=problem, sent=sent, status=problem.status)


def _shown(
    visit: Visit, *, refusal: Problem | None = None, sent: Mapping[str, str] = NOTHING_ANNOUNCED, **context: Any
) -> Response:
    if visit.is_fragment:
        return visit.page("preview.html", **context)
    return visit.page(
        "add.html",
        buckets=open_buckets(visit.services.settings),
        collections=collection_choice.offered(visit),
        refusal=refusal,
        sent=sent,
        **context,
    )


def preview(visit: Visit) -> Response:
    """What the address names and what a harvest would fetch; nothing is stored."""
    visit.require(Permission.DEPOSIT)
    url = visit.form(("url",))["url"]
    if not url or len(url) > LONGEST_ADDRESS:
        return _page(visit, url=url[:LONGEST_ADDRESS], problem=translate("Paste an address, a DOI or an identifier."))
    try:
        found = harvests.preview(visit, url)
    except PerduraError as error:
        return _page(visit, url=url, problem=error.message)
    return _shown(
        visit,
        url=url,
        problem="",
        preview=found,
        shown=FILES_SHOWN,
        known=archives.archives_of_resource(visit.connection, visit.principal, found.source, found.recid),
    )


def harvest(visit: Visit) -> Response:
    """Begin the harvest and show its Archive."""
    visit.require(Permission.DEPOSIT)
    url = visit.form(("url",))["url"]
    try:
        recognise(url[:LONGEST_ADDRESS], visit.services.settings)
    except PerduraError as error:
        return _page(visit, url=url[:LONGEST_ADDRESS], problem=error.message, status=422)
    begun = registry.start_harvest(
        visit.connection, registry.HarvestWanted(url=url, requested_by=visit.principal.account)
    )
    visit.made(begun.archive)
    visit.emit(begun.events)
    return see_other(f"/archives/{begun.archive}")
