"""Paths of files in addresses: they may have any character that a file's name can have."""

from __future__ import annotations

from werkzeug.routing import PathConverter


class FilePath(PathConverter):
    """A path with slashes, and with the line feeds at which werkzeug's own stops."""

    regex = "(?s:[^/].*?)"


CONVERTERS = {"path": FilePath}
"""What a map of routes takes, so that `<path:…>` is such a path."""
