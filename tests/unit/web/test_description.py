"""Descriptions out of what sources told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdura.web.description import describe, plain
from perdura.web.holdings import Holding
from perdura.web.schema_org import datacite, embedded, json_ld
from perdura.web.signposting import header, linkset

ID = UUID("01a20f02-bf03-72dd-8c15-0f75ee730588")
URL = f"https://access.example.org/archives/{ID}"


@dataclass
class Row:
    """A row of a published Archive."""

    metadata: Any = field(default_factory=dict)
    id: UUID = ID
    title: str = "A title"
    published_at: datetime = datetime(2026, 11, 24, tzinfo=UTC)
    source: str | None = None
    recid: str | None = None


def test_a_citation_has_everything_that_is_known() -> None:
    told = {
        "creators": ["Curie, Marie", {"name": "Langevin, Paul"}],
        "publication_date": "1921-05",
        "publisher": "Zenodo",
        "doi": "10.5281/zenodo.1",
        "version": "2",
        "licence": "cc-by-4.0",
    }
    description = describe(Row(told), URL, "Us")
    assert description.citation == (
        "Curie, Marie; Langevin, Paul (1921). A title. Version 2. Zenodo. https://doi.org/10.5281/zenodo.1"
    )
    assert description.licence_urls == ("https://spdx.org/licenses/cc-by-4.0",)


def test_nothing_is_invented() -> None:
    description = describe(Row(), URL, "Us")
    assert description.citation == f"(2026). A title. Us. {URL}"
    assert description.creators == ()
    assert description.doi is None


def test_a_bag_describes_itself() -> None:
    told = {"bag_info": [["External-Description", "Old letters"], ["Source-Organization", "Archive of Bern"]]}
    description = describe(Row(told), URL, "Us")
    assert (description.description, description.publisher) == ("Old letters", "Archive of Bern")


@pytest.mark.parametrize(
    ("html", "text"),
    [("<p>One</p><p>two</p>", "One two"), ("a < b and c > d", "a < b and c > d"), ("<br/>", None), ("", None)],
)
def test_html_becomes_text(html: str, text: str | None) -> None:
    assert plain(html) == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("creators", "doi", "publication_date", "publisher", "licence", "version", "description", "url", "bag_info")


@given(st.dictionaries(st.sampled_from(KEYS), json_values) | json_values, st.text(max_size=40))
def test_no_metadata_breaks_any_form(told: Any, title: str) -> None:
    description = describe(Row(told, title=title), URL, "Us")
    holdings = [Holding("a", "data/objects/a", 1, {}, None, None, 'text/"x\r\n', f"{URL}/files/a")]
    assert "<" not in embedded(json_ld(description, holdings))
    assert datacite(description, holdings)["publicationYear"].isdigit()
    links = header(description, holdings, complete=True)
    assert links.isascii()
    assert links.isprintable()
    assert linkset(description, holdings)["linkset"][0]["anchor"] == URL
