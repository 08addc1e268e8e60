"""JSON that is read by people and programs."""

from __future__ import annotations

import json

from perdura.sources.legible import legible


def test_every_member_and_every_item_has_a_line_of_its_own() -> None:
    assert legible({"title": "Über", "files": [{"key": "a"}, {"key": "b"}], "none": []}).splitlines() == [
        "{",
        '"title": "Über",',
        '"files": [',
        '  {"key": "a"},',
        '  {"key": "b"}',
        " ],",
        '"none": []',
        "}",
    ]


def test_it_is_the_same_object_read_back() -> None:
    value = {"a\n": [1, [2, 3], {"b": None}], "c": {"d": [1, 2]}, "e": True, "lone": "\udc80"}
    assert json.loads(legible(value)) == value


def test_an_object_without_members_is_one() -> None:
    assert json.loads(legible({})) == {}
