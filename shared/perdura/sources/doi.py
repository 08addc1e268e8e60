"""A DOI: asks its registry where the record is; the repository there is then harvested as what it is."""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import quote

from perdura.clients.http import HttpClient, UpstreamRefused, status_error
from perdura.sources.catalogue import Recognised
from perdura.sources.json_values import at, items, mapping, text
from perdura.sources.plan import Moved

HANDLES = "https://doi.org/api/handles/"
"""The handle proxy: knows the DOIs of every registration agency."""


def plan(record: Recognised, client: HttpClient) -> NoReturn:
    """Raise Moved to the address DataCite or, for other agencies, the handle system gives for the DOI.

    Raises UpstreamRefused when nobody knows the DOI, UpstreamUnavailable.
    """
    doi = quote(record.recid, safe="/")
    answer = client.get(f"{record.base_url}/dois/{quote(record.recid, safe='')}")
    if answer.status == 200 and (url := text(answer.json(), "data.attributes.url")):
        raise Moved(url)
    handle = client.get(HANDLES + doi)
    if handle.status == 200:
        for value in map(mapping, items(at(handle.json(), "values"))):
            if value.get("type") == "URL" and (url := text(value, "data.value")):
                raise Moved(url)
    if handle.status in (200, 404):
        raise UpstreamRefused(f"The DOI {record.recid} is not registered.", code="upstream-not-found")
    raise status_error(handle.status, handle.headers, handle.url)
