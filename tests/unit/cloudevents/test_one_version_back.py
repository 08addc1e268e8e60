"""Functions of two versions run side by side during an upgrade: what one emits, the other reads.

`catalogue-before.json` holds the JSON Schemas of the catalogue of one version back; a release records them anew.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from perdura.cloudevents.catalogue import CATALOGUE
from perdura.cloudevents.documents import schema

Schema = dict[str, Any]

BEFORE: dict[str, Schema] = json.loads(Path(__file__).with_name("catalogue-before.json").read_text())
EXAMPLES: dict[str, Any] = {"uuid": "01a2209a-854c-70c4-8d5a-5f0f6d9b9640", "date-time": "2026-05-01T00:00:00Z"}


def parts(document: Schema) -> Iterator[tuple[str, Schema]]:
    """The object schemas of a document: its own, and those it defines."""
    yield "data", document
    yield from document.get("$defs", {}).items()


def plain(member: Any) -> Any:
    """A member without what is written for people only."""
    if isinstance(member, dict):
        return {name: plain(value) for name, value in member.items() if name not in ("title", "description")}
    return [plain(value) for value in member] if isinstance(member, list) else member


def breaches(before: Schema, now: Schema) -> list[str]:
    """What hinders readers and writers of `before` and of `now` from understanding each other."""
    found = []
    today = dict(parts(now))
    for name, old in parts(before):
        new = today.get(name)
        if new is None:
            found.append(f"{name} is gone")
            continue
        old_members, new_members = old.get("properties", {}), new.get("properties", {})
        for member, value in old_members.items():
            if member not in new_members:
                found.append(f"{name}.{member} is gone")
            elif plain(value) != plain(new_members[member]):
                found.append(f"{name}.{member} has changed")
        if changed := set(old.get("required", ())) ^ set(new.get("required", ())):
            found.append(f"{name}: required or no more required: {', '.join(sorted(changed))}")
        if new.get("additionalProperties") is False:
            found.append(f"{name} refuses unknown members")
    return found


def example(document: Schema, member: Schema, *, full: bool) -> Any:
    """A value that a schema allows: with all members, or with the required ones only."""
    if "$ref" in member:
        return example(document, document["$defs"][member["$ref"].rpartition("/")[2]], full=full)
    if "anyOf" in member:
        return example(document, member["anyOf"][0], full=full)
    if "enum" in member or "const" in member:
        return member.get("const", member.get("enum", [None])[0])
    match member.get("type"):
        case "object":
            wanted = {name for name in member.get("properties", {}) if full or name in member.get("required", ())}
            return {name: example(document, member["properties"][name], full=full) for name in wanted}
        case "array":
            return [example(document, member["items"], full=full)]
        case "integer" | "number":
            return member.get("minimum", 1)
        case "boolean":
            return True
    if digits := re.fullmatch(r"\^\[0-9a-f\]\{(\d+)\}\$", member.get("pattern", "")):
        return "a" * int(digits[1])
    return EXAMPLES.get(member.get("format", ""), "some text")


def test_the_catalogue_only_adds_types_and_optional_members() -> None:
    assert set(BEFORE) <= set(CATALOGUE), "a type of one version back is gone: keep it beside its new version"
    found = {name: breaches(BEFORE[name], schema(CATALOGUE[name])) for name in BEFORE}
    assert not {name: what for name, what in found.items() if what}, "make a new version of the type (.v2) instead"


@pytest.mark.parametrize("full", [False, True], ids=["required members", "all members"])
@pytest.mark.parametrize("name", sorted(BEFORE))
def test_events_of_one_version_back_are_taken(name: str, full: bool) -> None:
    data = example(BEFORE[name], BEFORE[name], full=full)
    jsonschema.validate(data, BEFORE[name])
    CATALOGUE[name].data.model_validate(data)


@pytest.mark.parametrize("full", [False, True], ids=["required members", "all members"])
@pytest.mark.parametrize("name", sorted(BEFORE))
def test_readers_of_one_version_back_take_the_events_of_today(name: str, full: bool) -> None:
    now = schema(CATALOGUE[name])
    model = CATALOGUE[name].data.model_validate(example(now, now, full=full))
    jsonschema.validate(model.model_dump(mode="json"), BEFORE[name])
    jsonschema.validate(model.model_dump(mode="json") | {"member_of_tomorrow": 1}, BEFORE[name])


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_members_of_tomorrow_are_ignored(name: str) -> None:
    now = schema(CATALOGUE[name])
    model = CATALOGUE[name].data.model_validate({**example(now, now, full=True), "member_of_tomorrow": 1})
    assert "member_of_tomorrow" not in model.model_dump()


def test_what_may_not_be_done_to_a_type_is_found() -> None:
    before = BEFORE["org.perdura.sip.accepted.v1"]
    added, removed, required, narrowed, inner = (copy.deepcopy(before) for _ in range(5))
    added["properties"]["remark"] = {"type": "string", "default": ""}
    del removed["properties"]["warnings"]
    required["required"].append("warnings")
    narrowed["properties"]["files"]["maximum"] = 10
    del inner["$defs"]["PackageReference"]["properties"]["size"]
    assert breaches(before, added) == []
    for broken in (removed, required, narrowed, inner):
        assert breaches(before, broken)
