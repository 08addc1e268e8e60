"""The bytes of packages, and of single files inside them."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.content import OCTETS, serve
from perdura.api.extents import file_extent, package_extent
from perdura.api.models.base import Request
from perdura.api.operations import Call, Section
from perdura.api.problems import Problem, copy_damaged, not_found
from perdura.api.queries import archives, files, published
from perdura.api.queries.rows import AnyRow
from perdura.api.sight import readable

section = Section("Packages")

REDIRECT_ABOVE = 2**30
"""Packages larger than this are fetched from the store itself: no function lives long enough to pass them on."""
REDIRECT_SECONDS = 3600


class ContentQuery(Request):
    """How the bytes are to come."""

    delivery: Literal["auto", "stream", "redirect"] = "auto"


class FileQuery(Request):
    """How a file is offered to a browser."""

    view: bool = False


@section.get(
    "/archives/<uuid:archive_id>/packages/<uuid:package_id>/content",
    permission=Permission.READ,
    media=("application/x-tar", "application/zip", "application/gzip", OCTETS),
)
def get_package_content(call: Call, archive_id: UUID, package_id: UUID, query: ContentQuery) -> Response:
    """A whole package, by range if wanted.

    403 while an embargo is on the Archive, except for those who may see it were it restricted. 503 while its copy in
    the store is known to be damaged or lost.
    `delivery=redirect` answers 307 to a URL of the store that expires; `auto` does so above 1 GiB.
    """
    _, package = _package(call, archive_id, package_id)
    if package.container == "prefix":
        raise Problem(409, "This package lies unpacked in the store; fetch its files.", "not-one-object")
    extent = package_extent(package)
    redirect = query.delivery == "redirect" or (query.delivery == "auto" and package.size > REDIRECT_ABOVE)
    if redirect:
        url = call.services.store.presigned_get(extent.ref, REDIRECT_SECONDS, filename=extent.name)
        return Response(status=307, headers={"Location": url, "Cache-Control": "no-store"})
    return serve(call.request, call.services.store, extent)


@section.get(
    "/archives/<uuid:archive_id>/packages/<uuid:package_id>/files/<path:path>",
    permission=Permission.READ,
    media=("*/*",),
)
def get_file_content(call: Call, archive_id: UUID, package_id: UUID, path: str, query: FileQuery) -> Response:
    """One payload file, read out of its package by range; nothing else of the package is touched.

    403 while an embargo is on the Archive, except for those who may see it were it restricted. 503 while the copy of
    the package in the store is known to be damaged or lost.
    """
    _, package, row = file_in_package(call, archive_id, package_id, path)
    return serve(call.request, call.services.store, file_extent(package, row), view=query.view)


def file_in_package(call: Call, archive_id: UUID, package_id: UUID, path: str) -> tuple[AnyRow, AnyRow, AnyRow]:
    """The Archive, the package and the file at the path, for a caller who may have its bytes.

    Raises the problem that forbids it.
    """
    archive, package = _package(call, archive_id, package_id)
    row = files.one(call.connection, package_id, path)
    if row is None:
        raise not_found("file")
    return archive, package, row


def _package(call: Call, archive_id: UUID, package_id: UUID) -> tuple[AnyRow, AnyRow]:
    archive = readable(call, archive_id)
    package = archives.package(call.connection, call.principal, package_id)
    if package is None or package.archive_id != archive_id:
        raise not_found("package")
    if published.is_damaged(call.connection, package_id):
        raise copy_damaged()
    return archive, package
