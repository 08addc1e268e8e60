"""Who takes a type is what the functions take."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from perdura.cloudevents.catalogue import CATALOGUE
from perdura.cloudevents.routes import CATCH_ALL, FUNCTIONS, ROUTES, TICKED, goes_round, takes
from perdura.runtime.function import Function

MAINS = sorted((Path(__file__).resolve().parents[3] / "functions").glob("*/main.py"))


def function_of(main: Path) -> Function | None:
    """The `Function` that a `main.py` makes; None for those that take no CloudEvents."""
    spec = importlib.util.spec_from_file_location(f"{main.parent.name.replace('-', '_')}_main", main)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, "FUNCTION", None)
    assert found is None or isinstance(found, Function)
    return found


@pytest.mark.parametrize("main", MAINS, ids=lambda main: main.parent.name)
def test_a_function_takes_what_is_written_of_it(main: Path) -> None:
    name, function = main.parent.name, function_of(main)
    taken = function.taken if function is not None else frozenset()
    assert (taken is None) == (name == CATCH_ALL)
    if taken is not None:
        assert taken & set(CATALOGUE) == {thing for thing, route in ROUTES.items() if name in route.takers}
    assert (function is not None and function.ticks) == (name in TICKED)


def test_every_type_has_a_route_and_every_function_exists() -> None:
    assert list(ROUTES) == list(CATALOGUE)
    assert {main.parent.name for main in MAINS} >= FUNCTIONS
    for name, route in ROUTES.items():
        assert route.takers or not CATALOGUE[name].request, name


def test_a_function_that_takes_what_it_emits_has_a_reason_why_that_ends() -> None:
    both = {name: route for name, route in ROUTES.items() if route.emitters & route.takers}
    assert {name for name, route in ROUTES.items() if route.ends} >= set(both)
    assert all(route.ends for route in both.values())


def test_the_log_is_told_of_no_record_of_its_own() -> None:
    assert takes(CATCH_ALL, "org.perdura.premis.recorded.v1")
    assert goes_round(CATCH_ALL, "org.perdura.premis.recorded.v1")
    assert not goes_round(CATCH_ALL, "org.perdura.aip.created.v1")
