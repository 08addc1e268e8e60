"""The OAI-PMH 2.0 server: six verbs, stateless resumption, sets by Source.

What was withdrawn is told as deleted. What was restricted later is not (it does not exist for strangers), so that the
support of deletions is called transient.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from flask import Response
from lxml import etree

from perdura.api.problems import Problem
from perdura.api.queries import published
from perdura.api.queries.rows import AnyRow
from perdura.web.oai.formats import FORMATS, XSI
from perdura.web.oai.request import OaiError, Selection, arguments_of, format_named, selection_of
from perdura.web.reading import Reading

NAMESPACE = "http://www.openarchives.org/OAI/2.0/"
RECORDS = 100
"""Records in one answer."""
BODY_LIMIT = 16 * 1024

Element = Any
"""An lxml element; lxml has no types here."""


def answer(reading: Reading) -> Response:
    """The answer to an OAI-PMH request by GET or POST."""
    root = etree.Element(_tag("OAI-PMH"), nsmap={None: NAMESPACE, "xsi": XSI})
    root.set(f"{{{XSI}}}schemaLocation", f"{NAMESPACE} http://www.openarchives.org/OAI/2.0/OAI-PMH.xsd")
    _add(root, "responseDate", _stamp(datetime.now(UTC)))
    request = _add(root, "request", f"{reading.root}/oai")
    try:
        sent = arguments_of(_pairs(reading))
        body = _VERBS[sent["verb"]](reading, sent)
    except OaiError as error:
        _add(root, "error", error.message, code=error.code)
    else:
        for name, value in sent.items():
            request.set(name, value)
        root.append(body)
    text = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    return Response(text, content_type="text/xml; charset=utf-8")


def _pairs(reading: Reading) -> list[tuple[str, str]]:
    request = reading.request
    if request.method != "POST":
        return list(request.args.items(multi=True))
    if request.mimetype != "application/x-www-form-urlencoded":
        raise OaiError("badArgument", "A POST has to be application/x-www-form-urlencoded.")
    raw = request.stream.read(BODY_LIMIT + 1)
    if len(raw) > BODY_LIMIT:
        raise Problem(413, "The request is too large.", "too-large")
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise OaiError("badArgument", "The request cannot be read.") from None


def _identify(reading: Reading, _sent: dict[str, str]) -> Element:
    body = etree.Element(_tag("Identify"))
    _add(body, "repositoryName", reading.settings.organisation)
    _add(body, "baseURL", f"{reading.root}/oai")
    _add(body, "protocolVersion", "2.0")
    host = urlsplit(reading.root).hostname or "localhost"
    _add(body, "adminEmail", f"perdura@{host}")
    earliest = published.earliest(reading.connection) or datetime.now(UTC)
    _add(body, "earliestDatestamp", _stamp(earliest))
    _add(body, "deletedRecord", "transient")
    _add(body, "granularity", "YYYY-MM-DDThh:mm:ssZ")
    return body


def _formats(reading: Reading, sent: dict[str, str]) -> Element:
    if "identifier" in sent:
        _record_of(reading, sent["identifier"])
    body = etree.Element(_tag("ListMetadataFormats"))
    for entry in FORMATS.values():
        shown = _add(body, "metadataFormat")
        _add(shown, "metadataPrefix", entry.prefix)
        _add(shown, "schema", entry.schema)
        _add(shown, "metadataNamespace", entry.namespace)
    return body


def _sets(reading: Reading, sent: dict[str, str]) -> Element:
    if "resumptionToken" in sent:
        raise OaiError("badResumptionToken", "The list of sets is never cut.")
    body = etree.Element(_tag("ListSets"))
    names = published.sources(reading.connection)
    if not names:
        raise OaiError("noSetHierarchy", "There are no sets yet.")
    for name in names:
        shown = _add(body, "set")
        _add(shown, "setSpec", f"source:{name}")
        _add(shown, "setName", f"Records of {name}")
    return body


def _get(reading: Reading, sent: dict[str, str]) -> Element:
    if not sent.get("identifier"):
        raise OaiError("badArgument", "identifier is missing.")
    prefix = format_named(sent.get("metadataPrefix"))
    body = etree.Element(_tag("GetRecord"))
    body.append(_record(reading, _record_of(reading, sent["identifier"]), prefix))
    return body


def _records(reading: Reading, sent: dict[str, str]) -> Element:
    body = etree.Element(_tag("ListRecords"))
    selection, rows = _selected(reading, sent)
    for row in rows[:RECORDS]:
        body.append(_record(reading, row, selection.prefix))
    _resume(body, selection, rows)
    return body


def _identifiers(reading: Reading, sent: dict[str, str]) -> Element:
    body = etree.Element(_tag("ListIdentifiers"))
    selection, rows = _selected(reading, sent)
    for row in rows[:RECORDS]:
        body.append(_header(reading, row))
    _resume(body, selection, rows)
    return body


_VERBS = {
    "Identify": _identify,
    "ListMetadataFormats": _formats,
    "ListSets": _sets,
    "GetRecord": _get,
    "ListRecords": _records,
    "ListIdentifiers": _identifiers,
}


def _selected(reading: Reading, sent: dict[str, str]) -> tuple[Selection, Sequence[AnyRow]]:
    selection = selection_of(sent)
    rows = published.page(
        reading.connection,
        limit=RECORDS + 1,
        after=selection.after,
        since=selection.since,
        until=selection.until,
        source=selection.source,
        with_withdrawn=True,
    )
    if not rows and selection.after is None:
        raise OaiError("noRecordsMatch", "Nothing matches.")
    return selection, rows


def _resume(body: Element, selection: Selection, rows: Sequence[AnyRow]) -> None:
    if len(rows) > RECORDS:
        last = rows[RECORDS - 1]
        _add(body, "resumptionToken", selection.token((last.changed_at, last.id)))
    elif selection.after is not None:
        _add(body, "resumptionToken")


def _record_of(reading: Reading, identifier: str) -> AnyRow:
    try:
        archive_id = UUID(identifier.removeprefix(_identifier_prefix(reading)))
    except ValueError:
        raise OaiError("idDoesNotExist", "There is no such record.") from None
    row = published.once_published(reading.connection, archive_id)
    if row is None or identifier != f"{_identifier_prefix(reading)}{archive_id}":
        raise OaiError("idDoesNotExist", "There is no such record.")
    return row


def _identifier_prefix(reading: Reading) -> str:
    return f"oai:{urlsplit(reading.root).hostname or 'localhost'}:"


def _record(reading: Reading, row: AnyRow, prefix: str) -> Element:
    record = etree.Element(_tag("record"))
    record.append(_header(reading, row))
    if row.withdrawn:
        return record
    _add(record, "metadata").append(FORMATS[prefix].write(reading.describe(row)))
    return record


def _header(reading: Reading, row: AnyRow) -> Element:
    header = etree.Element(_tag("header"), {"status": "deleted"} if row.withdrawn else {})
    _add(header, "identifier", f"{_identifier_prefix(reading)}{row.id}")
    _add(header, "datestamp", _stamp(row.changed_at))
    if row.source:
        _add(header, "setSpec", f"source:{row.source}")
    return header


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _add(parent: Element, name: str, text: str | None = None, **attributes: str) -> Element:
    child = etree.SubElement(parent, _tag(name), attributes)
    child.text = text
    return child
