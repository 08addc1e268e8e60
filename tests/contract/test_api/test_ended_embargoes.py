"""The end of an embargo is a change that harvesters are told of."""

from __future__ import annotations

from datetime import UTC, datetime

from lxml import etree
from sqlalchemy import update
from werkzeug.test import Client

from perdura.registry import ended_embargoes
from perdura.registry.tables import Publication
from tests.contract.test_api.test_oai import _ask, _identifiers
from tests.contract.test_api.world import World


def test_the_end_of_an_embargo_is_a_change_once(world: World, reader: Client) -> None:
    over, open_since, lasting = (
        world.published(metadata_={"embargo_until": until}) for until in ("2026-02-01", "2025-12-01", "2990-01-01")
    )
    never = world.published(metadata_={"embargo_until": None})
    before = datetime(2026, 1, 1, tzinfo=UTC)
    with world.engine.begin() as connection:
        connection.execute(update(Publication).values(published_at=before, changed_at=before))
        assert [ended_embargoes.date_anew(connection) for _ in range(2)] == [1, 0]
    changed = _ask(reader, "verb=ListIdentifiers&metadataPrefix=oai_dc&from=2026-01-02")
    assert _identifiers(changed) == [str(over)]
    rest = _ask(reader, "verb=ListIdentifiers&metadataPrefix=oai_dc&until=2026-01-02")
    assert set(_identifiers(rest)) == {str(open_since), str(lasting), str(never)}
    stamps = [element.text for element in etree.fromstring(reader.get("/sitemap.xml").data).iter("{*}lastmod")]
    assert sorted(stamp[:10] for stamp in stamps)[:3] == ["2026-01-01"] * 3
