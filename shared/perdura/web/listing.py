"""The front of the access pages: what was published, page by page or by its words, and the sitemap."""

from __future__ import annotations

from datetime import UTC
from urllib.parse import quote_plus

from flask import Response
from lxml import etree

from perdura.api import cursors
from perdura.api.queries import published
from perdura.web.reading import Reading

SHOWN = 50
LONGEST = 200
SITEMAP_LIMIT = 50_000
_NAMESPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"


def start(reading: Reading) -> Response:
    """The Archives published last, or those that have the words asked for (`q`); `before` goes on."""
    asked = reading.request.args
    words, before = " ".join(asked.get("q", "").split())[:LONGEST], asked.get("before")
    rows = published.newest(
        reading.connection, SHOWN + 1, before=cursors.decode_moment(before) if before else None, words=words
    )
    last = rows[SHOWN - 1] if len(rows) > SHOWN else None
    following = None
    if last is not None:
        more = f"&q={quote_plus(words)}" if words else ""
        following = f"{reading.root}/archives?before={cursors.encode_moment(last.published_at, last.id)}{more}"
    archives = [reading.describe(row) for row in rows[:SHOWN]]
    return reading.page("access_start.html", archives=archives, words=words, following=following)


def robots(reading: Reading) -> Response:
    """What crawlers may read (RFC 9309): all but whole packages and zips; and where the sitemap is."""
    heavy = "".join(f"Disallow: /archives/*/{name}\n" for name in ("aip", "files.zip"))
    return Response(f"User-agent: *\n{heavy}Allow: /\nSitemap: {reading.root}/sitemap.xml\n", mimetype="text/plain")


def sitemap(reading: Reading) -> Response:
    """The sitemap (sitemaps.org 0.9); with more Archives than one file may hold it is an index of its parts."""
    after = reading.request.args.get("after")
    parts = published.milestones(reading.connection, SITEMAP_LIMIT) if after is None else ()
    if parts:
        return _index(reading, ["", *(cursors.encode_moment(*key) for key in parts)])
    root = etree.Element(f"{{{_NAMESPACE}}}urlset", nsmap={None: _NAMESPACE})
    key = cursors.decode_moment(after) if after else None
    for row in published.page(reading.connection, limit=SITEMAP_LIMIT, after=key):
        entry = etree.SubElement(root, f"{{{_NAMESPACE}}}url")
        etree.SubElement(entry, f"{{{_NAMESPACE}}}loc").text = reading.archive_url(row.id)
        changed = row.changed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        etree.SubElement(entry, f"{{{_NAMESPACE}}}lastmod").text = changed
    return _xml(root)


def _index(reading: Reading, keys: list[str]) -> Response:
    root = etree.Element(f"{{{_NAMESPACE}}}sitemapindex", nsmap={None: _NAMESPACE})
    for key in keys:
        entry = etree.SubElement(root, f"{{{_NAMESPACE}}}sitemap")
        etree.SubElement(entry, f"{{{_NAMESPACE}}}loc").text = f"{reading.root}/sitemap.xml?after={key}"
    return _xml(root)


def _xml(root: etree._Element) -> Response:
    return Response(etree.tostring(root, xml_declaration=True, encoding="UTF-8"), mimetype="application/xml")
