"""Any repository that signposts its landing pages (FAIR Signposting; harvesting.md 4): page, metadata, files."""

from __future__ import annotations

import hashlib
import re
from html import unescape

from lxml import etree

from perdura.clients.addresses import joined, path_of
from perdura.clients.http import Answer, HttpClient, UpstreamRefused, redacted, status_error
from perdura.clients.reach import DestinationRefused
from perdura.sources.catalogue import Recognised
from perdura.sources.link_header import LINKS, Link, parse_header, parse_linkset
from perdura.sources.plan import Capture, Plan, Skipped, UpstreamFile, planned

DESCRIPTIONS = (
    "application/vnd.datacite.datacite+json",
    "application/vnd.datacite.datacite+xml",
    "application/ld+json",
    "application/marcxml+xml",
    "application/x-dc+xml",
    "application/json",
    "application/dcat+xml",
)
"""Descriptions that are kept, when offered, the best first."""

LINKSETS = {"application/linkset+json": "linkset.json", "application/linkset": "linkset.txt"}
"""Forms of a linkset (RFC 9264 §4) and the names under which they are kept."""

KEPT = 3
"""How many descriptions are kept."""

_TITLE = re.compile(rb"<title[^>]*>(?P<title>.{1,2000}?)</title>", re.IGNORECASE | re.DOTALL)


def plan(record: Recognised, client: HttpClient) -> Plan:
    """Read the landing page's links (and its linkset), keep page and descriptions, plan every `item`.

    Raises UpstreamRefused (`unknown-source` when the page has no links of this kind), UpstreamUnavailable.
    """
    page = client.get(record.url, headers={"Accept": "text/html, */*;q=0.5"})
    if page.status != 200:
        raise status_error(page.status, page.headers, page.url)
    links, captures = _links(page, record.url, client)
    found = [link for link in links if link.relation == "item"]
    if not found and not any(link.relation == "describedby" for link in links):
        raise UpstreamRefused("The page says nothing of its files (no Signposting links).", code="unknown-source")
    captures += _descriptions(links, client)
    files, skipped = _files(found, client)
    cite_as = next((link.target for link in links if link.relation == "cite-as"), None)
    identity = redacted(cite_as or page.url)
    return Plan(
        source=record.source,
        recid=hashlib.sha256(identity.encode()).hexdigest()[:32],
        url=page.url,
        title=_title(page) or identity,
        captures=tuple(captures),
        files=planned(files),
        revision=page.header("etag") or page.header("last-modified"),
        metadata={"identifier": identity, "licence": [li.target for li in links if li.relation == "license"]},
        skipped=tuple(skipped),
    )


def _links(page: Answer, given: str, client: HttpClient) -> tuple[list[Link], list[Capture]]:
    """Level 1 links of the page, or those of its linkset (level 2) when it has no items itself.

    A linkset speaks of the address that was `given`, or of that which answered.
    """
    captures = [Capture.of(page, "landing-page.html")]
    links = [link for name, value in page.headers if name == "link" for link in parse_header(value, page.url)]
    links += _of_head(page)
    if any(link.relation == "item" for link in links):
        return links, captures
    for kind, name in LINKSETS.items():
        target = next((li.target for li in links if li.relation == "linkset" and li.type == kind), None)
        answer = client.get(target, headers={"Accept": kind}) if target else None
        if answer is not None and answer.status == 200:
            captures.append(Capture.of(answer, name))
            for anchor in dict.fromkeys((page.url, given)):
                found = _of_linkset(answer, kind, anchor)
                if any(link.relation in ("item", "describedby") for link in found):
                    return links + found, captures
    return links, captures


def _of_head(page: Answer) -> list[Link]:
    """Links that stand in the page's head instead of its headers, as they may where nobody can set those."""
    if "html" not in (page.header("content-type") or ""):
        return []
    parser = etree.HTMLParser(no_network=True, huge_tree=False)
    try:
        head = etree.fromstring(page.body, parser).find("head") if page.body.strip() else None
    except (etree.XMLSyntaxError, ValueError, AttributeError):
        return []
    return [
        Link(joined(page.url, element.get("href", "")), relation, element.get("type"), element.get("profile"))
        for element in (head.iter("link") if head is not None else ())
        for relation in element.get("rel", "").lower().split()
    ][:LINKS]


def _of_linkset(answer: Answer, kind: str, anchor: str) -> list[Link]:
    if kind == "application/linkset+json":
        return parse_linkset(answer.body, anchor, answer.url)
    return parse_header(answer.body.decode("utf-8", "replace"), anchor)


def _descriptions(links: list[Link], client: HttpClient) -> list[Capture]:
    offered = {link.type: link for link in reversed(links) if link.relation == "describedby" and link.type}
    captures = []
    for kind in [kind for kind in DESCRIPTIONS if kind in offered][:KEPT]:
        try:
            answer = client.get(offered[kind].target, headers={"Accept": kind})
        except DestinationRefused:
            continue
        if answer.status == 200:
            ending = "json" if kind.endswith("json") else "xml"
            name = kind.partition("/")[2].replace("+", "-").replace("vnd.", "")
            captures.append(Capture.of(answer, f"metadata-{name}.{ending}"))
    return captures


def _files(found: list[Link], client: HttpClient) -> tuple[list[UpstreamFile], list[Skipped]]:
    files, skipped = [], []
    for link in {link.target: link for link in found}.values():
        path = path_of(link.target)
        key = path.partition("/files/")[2] or path.rpartition("/")[2] or "file"
        try:
            client.reach.check(link.target)
        except DestinationRefused as refused:
            skipped.append(Skipped(key, link.target, refused.message))
        else:
            files.append(UpstreamFile(key=key, url=link.target, media_type=link.type))
    return files, skipped


def _title(page: Answer) -> str | None:
    match = _TITLE.search(page.body)
    return " ".join(unescape(match["title"].decode("utf-8", "replace")).split()) if match else None
