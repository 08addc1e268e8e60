"""What is written for people must be what the code does: generated documents are up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perdura import commands_page, errors_page, settings_page
from perdura.cloudevents import documents
from perdura.settings import Settings
from perdura.web import catalogue

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", sorted(documents.files()))
def test_documents_of_the_catalogue_are_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == documents.files()[name], "run `make documents`"


def test_no_schema_is_left_over() -> None:
    present = {f"docs/schemas/{path.name}" for path in (ROOT / "docs/schemas").iterdir()}
    assert present == {name for name in documents.files() if name.startswith("docs/schemas/")}


def test_the_settings_page_is_up_to_date() -> None:
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == settings_page.page(), "run `make documents`"


def test_the_error_codes_are_up_to_date() -> None:
    assert (ROOT / "docs/errors.md").read_text(encoding="utf-8") == errors_page.page(), "run `make documents`"


def test_the_page_of_commands_is_up_to_date() -> None:
    assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == commands_page.page(), "run `make documents`"


def test_every_error_code_says_something() -> None:
    assert [code.code for code in errors_page.codes() if not code.says and "(" in code.kind] == []


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", *sorted(p.name for p in (ROOT / "docs").glob("*.md"))]
)
def test_no_link_between_documents_is_dead(name: str) -> None:
    path = ROOT / name if (ROOT / name).exists() else ROOT / "docs" / name
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_texts_to_translate_are_up_to_date() -> None:
    assert (ROOT / catalogue.NAME).read_bytes() == catalogue.catalogue(), "run `make documents`"


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
