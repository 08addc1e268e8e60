"""The tables of pages that tests visit name every route, and each address belongs to its route."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from uuid import UUID

import pytest
from werkzeug.routing import Map

from perdura.ids import new_id
from perdura.web import access, pages
from tests.every_page import ACCESS, ACCESS_NO_PAGES, NO_PAGES, REGISTRY

NAMES: defaultdict[str, UUID] = defaultdict(new_id)


def _read(routes: Map) -> set[str]:
    return {rule.rule for rule in routes.iter_rules() if "GET" in (rule.methods or ())}


@pytest.mark.parametrize(
    ("routes", "table", "others"),
    [(pages.routes(), REGISTRY, set(NO_PAGES)), (access.routes(), ACCESS, ACCESS_NO_PAGES)],
    ids=["registry", "access pages"],
)
def test_every_route_is_visited_or_is_no_page(routes: Map, table: Mapping[str, list[str]], others: set[str]) -> None:
    assert _read(routes) == table.keys() | others
    assert not table.keys() & others


@pytest.mark.parametrize(("routes", "table"), [(pages.routes(), REGISTRY), (access.routes(), ACCESS)])
def test_every_address_belongs_to_its_route(routes: Map, table: Mapping[str, list[str]]) -> None:
    adapter = routes.bind("localhost")
    for route, listed in table.items():
        assert listed
        for address in listed:
            path = address.partition("?")[0].format_map(NAMES)
            rule, _ = adapter.match(path, method="GET", return_rule=True)
            assert rule.rule == route, address
