"""OAI-PMH 2.0 as a client: requests, pages, errors (harvesting.md 3).

Own, because repositories answer OAI errors with HTTP 422 and the body has to be read, and because resumption tokens
die within a minute or two, so that a walk belongs into one invocation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from lxml import etree

from perdura.clients.http import Answer, HttpClient, UpstreamRefused, status_error
from perdura.sources.markup import content, parse_xml

OAI = "{http://www.openarchives.org/OAI/2.0/}"

PAGES = 100_000
"""Most pages of one walk: a bound, not an expectation."""


class OaiError(UpstreamRefused):
    """An error condition of the protocol (OAI-PMH 2.0 §3.6); `code` is `oai-` and its name there."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"The repository answered {name}: {message or 'no explanation'}.", code=f"oai-{name}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an item: identifier, datestamp as sent, sets, whether it was deleted."""

    identifier: str
    datestamp: str
    sets: tuple[str, ...] = ()
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: headers in order, the answer as received, the token for the next page (None at the end)."""

    headers: tuple[Header, ...]
    answer: Answer
    token: str | None
    complete_size: int | None = None


def stamp(instant: datetime) -> str:
    """A UTC datestamp of seconds. Dates alone are never sent: they give HTTP 500 beside a time (harvesting.md 2.1)."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def request(client: HttpClient, endpoint: str, arguments: Mapping[str, str]) -> tuple[etree._Element, Answer]:
    """Send one request by GET and give the root of the answer.

    Raises OaiError whatever its HTTP status, UpstreamRefused, UpstreamUnavailable.
    """
    answer = client.get(f"{endpoint}?{urlencode(arguments)}", headers={"Accept": "text/xml, application/xml"})
    if answer.status not in (200, 400, 404, 422):
        raise status_error(answer.status, answer.headers, answer.url)
    try:
        root = parse_xml(answer.body, endpoint)
    except UpstreamRefused:
        if answer.status != 200:
            raise status_error(answer.status, answer.headers, answer.url) from None
        raise
    error = root.find(f"{OAI}error")
    if error is not None:
        raise OaiError(error.get("code", "unknown"), content(error))
    return root, answer


def walk(
    client: HttpClient,
    endpoint: str,
    *,
    verb: str = "ListIdentifiers",
    prefix: str = "oai_dc",
    since: datetime | None = None,
    until: datetime | None = None,
    set_name: str | None = None,
) -> Iterator[Page]:
    """All pages of `ListIdentifiers` or `ListRecords` for a window; nothing when the window is empty.

    A dead token starts again: from the greatest datestamp seen, inclusive, as long as the list came in their order
    (the protocol promises none), else from the beginning. Items may then come twice, and the caller removes duplicates
    by identifier and datestamp. Raises UpstreamRefused, UpstreamUnavailable.
    """
    greatest = begin = stamp(since) if since else ""
    arguments = _first(verb, prefix, greatest, until, set_name)
    restarts, ordered = 0, True
    for _ in range(PAGES):
        try:
            root, answer = request(client, endpoint, arguments)
        except OaiError as error:
            if error.name == "noRecordsMatch":
                return
            if error.name != "badResumptionToken" or "resumptionToken" not in arguments or restarts >= 5:
                raise
            restarts += 1
            arguments = _first(verb, prefix, greatest if ordered else begin, until, set_name)
            continue
        page = _page(root, answer, verb)
        stamps = [greatest, *(header.datestamp for header in page.headers)]
        ordered = ordered and stamps == sorted(stamps)
        greatest = max(stamps)
        yield page
        if page.token is None:
            return
        arguments = {"verb": verb, "resumptionToken": page.token}
    raise UpstreamRefused("The list has no end.", code="upstream-too-large")


def _first(verb: str, prefix: str, since: str, until: datetime | None, set_name: str | None) -> dict[str, str]:
    found = {"verb": verb, "metadataPrefix": prefix}
    if since:
        found["from"] = since if "T" in since else f"{since}T00:00:00Z"
    if until:
        found["until"] = stamp(until)
    if set_name:
        found["set"] = set_name
    return found


def _page(root: etree._Element, answer: Answer, verb: str) -> Page:
    body = root.find(OAI + verb)
    if body is None:
        raise UpstreamRefused("The answer is not what was asked for.", code="upstream-not-xml")
    token = body.find(OAI + "resumptionToken")
    size = token.get("completeListSize", "") if token is not None else ""
    return Page(
        headers=tuple(header(element) for element in body.iter(OAI + "header")),
        answer=answer,
        token=content(token) or None,
        complete_size=int(size) if size.isdecimal() else None,
    )


def header(element: etree._Element) -> Header:
    """A `header` element as a value."""
    return Header(
        identifier=content(element.find(OAI + "identifier")),
        datestamp=content(element.find(OAI + "datestamp")),
        sets=tuple(content(item) for item in element.findall(OAI + "setSpec")),
        deleted=element.get("status") == "deleted",
    )
