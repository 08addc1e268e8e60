"""The front of the access pages: what was published last, and the sitemap for search engines."""

from __future__ import annotations

from datetime import UTC

from flask import Response
from lxml import etree

from perdura.api.queries import published
from perdura.web.reading import Reading

SHOWN = 50
SITEMAP_LIMIT = 50_000
_NAMESPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"


def start(reading: Reading) -> Response:
    """The Archives published last."""
    rows = published.newest(reading.connection, SHOWN)
    return reading.page("access_start.html", archives=[reading.describe(row) for row in rows])


def sitemap(reading: Reading) -> Response:
    """The sitemap (sitemaps.org 0.9) of the first 50,000 Archives, the most that one file may hold."""
    root = etree.Element(f"{{{_NAMESPACE}}}urlset", nsmap={None: _NAMESPACE})
    for row in published.page(reading.connection, limit=SITEMAP_LIMIT):
        entry = etree.SubElement(root, f"{{{_NAMESPACE}}}url")
        etree.SubElement(entry, f"{{{_NAMESPACE}}}loc").text = reading.archive_url(row.id)
        changed = row.published_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        etree.SubElement(entry, f"{{{_NAMESPACE}}}lastmod").text = changed
    return Response(etree.tostring(root, xml_declaration=True, encoding="UTF-8"), mimetype="application/xml")
