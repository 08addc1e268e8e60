"""Every page of the registry and the access pages by its route, with the addresses that tests look at.

`{name}` stands for the id of something that the test has made; `tests/unit/web/test_every_page.py` holds the tables
against the routes, so that a new page cannot be left out.
"""

from __future__ import annotations

from collections.abc import Mapping

ARCHIVE = "/archives/<uuid:archive_id>"

REGISTRY = {
    "/sign-in": ["/sign-in", "/sign-in?next=/archives"],
    "/signed-out": ["/signed-out"],
    "/archives": ["/archives", "/archives?state=failed&q=nothing", "/archives?state=completed&size_min=1"],
    ARCHIVE: ["/archives/{archive}", "/archives/{rejected}"],
    f"{ARCHIVE}/files": ["/archives/{archive}/files", "/archives/{archive}/files?q=nothing"],
    f"{ARCHIVE}/packages/<uuid:package_id>/view/<path:path>": [
        "/archives/{archive}/packages/{package}/view/{text}",
        "/archives/{archive}/packages/{package}/view/{image}",
    ],
    "/jobs": ["/jobs"],
    "/jobs/new": ["/jobs/new", "/jobs/new?act=run", "/jobs/new?act=collect", "/jobs/new?act=retry&state=failed"],
    "/jobs/<uuid:job_id>": ["/jobs/{job}", "/jobs/{job}?state=done"],
    "/collections": ["/collections", "/collections?q=nothing"],
    "/collections/<uuid:collection_id>": ["/collections/{collection}", "/collections/{empty_collection}"],
    "/sources": ["/sources"],
    "/sources/<string:source>/search": ["/sources/zenodo/search"],
    "/notifications": ["/notifications"],
    "/schedules": ["/schedules"],
    "/schedules/<uuid:schedule_id>": ["/schedules/{schedule}"],
    "/runs/<uuid:run_id>": ["/runs/{run}", "/runs/{run}?state=failed"],
    "/schedules/new": ["/schedules/new"],
    "/statistics": ["/statistics"],
    "/tape": ["/tape"],
    "/tape/jobs": ["/tape/jobs", "/tape/jobs?open=true"],
    "/add": ["/add"],
    "/failures": ["/failures", "/failures?step=ingest&code={code}&state=rejected"],
    "/events": ["/events", "/events?agent=nobody"],
    "/audit": ["/audit", "/audit?action=nothing"],
    "/account": ["/account"],
    "/administration/users": ["/administration/users", "/administration/users?q=nobody"],
    "/administration/users/<uuid:user_id>": ["/administration/users/{user}"],
    "/administration/grants": ["/administration/grants"],
    "/administration/pipelines": ["/administration/pipelines"],
    "/administration/settings": ["/administration/settings"],
}

NO_PAGES = {
    "/": "leads to the list of Archives",
    "/administration": "leads to the users",
    "/sign-in/start": "leads to the identity provider",
    "/sign-in/callback": "leads to the page that was wanted",
    f"{ARCHIVE}/live": "a part of the page of the Archive",
}
"""What else is fetched in the registry, and why it is no page."""

ACCESS = {
    "/": ["/", "/?q=nothing"],
    "/archives": ["/archives"],
    ARCHIVE: ["/archives/{archive}", "/archives/{shut}"],
    f"{ARCHIVE}/files": ["/archives/{archive}/files", "/archives/{archive}/files?q=nothing"],
    f"{ARCHIVE}/view/<path:path>": ["/archives/{archive}/view/{text}", "/archives/{archive}/view/{image}"],
}

ACCESS_NO_PAGES = {
    "/sitemap.xml", "/robots.txt", "/oai", f"{ARCHIVE}/aip", f"{ARCHIVE}/files.zip", f"{ARCHIVE}/files/<path:path>",
    *(f"{ARCHIVE}/{form}" for form in ("metadata.json", "schema.json", "datacite.json", "linkset.json", "premis.xml")),
}  # fmt: skip


def addresses(table: Mapping[str, list[str]], **names: object) -> list[str]:
    """Every address of a table, with the names filled in."""
    return [address.format(**names) for listed in table.values() for address in listed]
