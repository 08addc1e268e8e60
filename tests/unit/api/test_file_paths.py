"""Addresses of files, whatever their names."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest

from perdura.api.dispatch import _routes

FILES = "/api/v1/archives/018f3a1e-0000-7000-8000-000000000000/packages/018f3a1e-0000-7000-8000-000000000001/files/"


@pytest.mark.parametrize("path", ["a.txt", "data/a b", "data/line\nfeed", "data//twice", "data/\r\n\n", "ünï/cödé"])
def test_a_file_of_any_name_has_an_address(path: str) -> None:
    operation, variables = _routes().bind("").match(unquote(FILES + quote(path)), method="GET")
    assert variables["path"] == path, operation
