"""The files of an Archive for people of the registry: the list of all of them, and a look at one."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.extents import file_extent
from perdura.api.problems import not_found
from perdura.api.queries import archives, files
from perdura.api.queries.rows import AnyRow
from perdura.api.resources.packages import file_in_package
from perdura.api.sight import seen
from perdura.web import file_list, showing
from perdura.web.holdings import Holding, in_package, kind_of
from perdura.web.visit import Visit


def listing(visit: Visit, archive_id: UUID) -> Response:
    """The files of the package that stands for the Archive, a page at a time, searched by their paths."""
    visit.require(Permission.READ)
    archive = seen(visit, archive_id)
    package = files.best_package(visit.connection, archive_id)
    until = archives.shut_until(archive)

    def show(row: AnyRow) -> Holding:
        assert package is not None
        return in_package(row, package, shut=until is not None)

    found = file_list.read(
        partial(files.page, visit.connection, package.id) if package is not None else None,
        visit.request.args,
        show,
        f"/archives/{archive_id}/files",
    )
    return visit.page("files.html", archive=archive, package=package, list=found, holdings=found.holdings, until=until)


def view(visit: Visit, archive_id: UUID, package_id: UUID, path: str) -> Response:
    """A look at one file: whoever may not fetch it from the API may not look at it."""
    visit.require(Permission.READ)
    archive, package, row = file_in_package(visit, archive_id, package_id, path)
    file = in_package(row, package, shut=False)
    kind = kind_of(file.path, file.media_type)
    if kind is None or file.url is None:
        raise not_found("preview")
    shown = showing.look(visit.services.store, file_extent(package, row), kind)
    response = visit.page("file.html", archive=archive, file=file, shown=shown)
    return showing.allow(response, shown, visit.services.settings)
