"""The OpenAPI document is a correct one, and the very one that operations are checked by."""

from __future__ import annotations

import re

from perdura.api.openapi import document
from perdura.api.resources import OPERATIONS


def test_every_reference_leads_somewhere() -> None:
    import json

    shown = document()
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(shown)):
        assert name in shown["components"]["schemas"]


def test_path_variables_are_declared() -> None:
    for path, methods in document()["paths"].items():
        for entry in methods.values():
            declared = {p["name"] for p in entry["parameters"] if p["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))


def test_every_operation_is_documented() -> None:
    for operation in OPERATIONS:
        assert operation.handler.__doc__


def test_parameters_are_never_null() -> None:
    for methods in document()["paths"].values():
        for entry in methods.values():
            for parameter in entry["parameters"]:
                assert {"type": "null"} not in parameter["schema"].get("anyOf", [])
