"""Where the bytes of a package or of one of its files lie, as the API and the access pages serve them."""

from __future__ import annotations

import posixpath

from perdura.api.content import Extent
from perdura.api.problems import Problem
from perdura.api.queries.rows import AnyRow
from perdura.storage.store import ObjectRef

_MEDIA_TYPES = {"tar": "application/x-tar", "zip": "application/zip", "tar.gz": "application/gzip"}


def package_extent(package: AnyRow) -> Extent:
    """The bytes of a whole package, pinned to the state that was recorded."""
    name = posixpath.basename(package.key)
    if package.kind == "SIP" and "." not in name:
        name = f"{name}.{package.container}"
    return Extent(
        ref=ObjectRef(package.bucket, package.key, package.version_id, package.etag),
        offset=0,
        size=package.size,
        name=name,
        media_type=_MEDIA_TYPES.get(package.container),
        sha256=package.checksums.get("sha256"),
        modified=package.created_at,
    )


def file_extent(package: AnyRow, row: AnyRow) -> Extent:
    """The bytes of one file of a package; raises a 409 for a file that only unpacking would reach."""
    if package.container == "prefix":
        ref, offset = ObjectRef(package.bucket, package.key + row.path), 0
    elif row.offset is not None:
        ref, offset = ObjectRef(package.bucket, package.key, package.version_id, package.etag), row.offset
    else:
        raise Problem(409, "This file can only be had with its whole package.", "not-readable-alone")
    return Extent(
        ref=ref,
        offset=offset,
        size=row.size,
        name=row.path,
        media_type=row.media_type,
        sha256=row.checksums.get("sha256"),
        modified=package.created_at,
    )
