"""Lists as files: CSV for spreadsheets, JSON lines for programs, streamed so that a million rows need no memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from flask import Response

from perdura.api import presentation
from perdura.api.models.archives import ArchiveSummary, ExportQuery
from perdura.api.operations import Call
from perdura.api.queries import finding

COLUMNS = ("id", "title", "state", "source", "recid", "origin", "restricted", "size", "step", "cause", "created",
           "updated")  # fmt: skip
_FORMULA = frozenset("=+-@\t\r")


def stream(call: Call, query: ExportQuery) -> Response:
    """The answer with all Archives that match, as an attachment; read page by page while it is sent."""
    lines = _csv(_every(call, query)) if query.type == "csv" else _json_lines(_every(call, query))
    media = "text/csv; charset=utf-8; header=present" if query.type == "csv" else "application/x-ndjson"
    response = Response(lines, content_type=media)
    response.headers["Content-Disposition"] = f'attachment; filename="archives.{query.type}"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


def _every(call: Call, query: ExportQuery) -> Iterator[ArchiveSummary]:
    for row in finding.every(call.services.engine, call.principal, query.criteria()):
        yield presentation.summary(row)


def _json_lines(archives: Iterator[ArchiveSummary]) -> Iterator[str]:
    for archive in archives:
        yield archive.model_dump_json(exclude={"links"}) + "\n"


def _csv(archives: Iterator[ArchiveSummary]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for archive in archives:
        values = archive.model_dump(mode="json")
        writer.writerow([harmless(values[column]) for column in COLUMNS])
        if buffer.tell() > 1 << 16:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def harmless(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value
