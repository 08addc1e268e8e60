"""Each text of a document is in the record, or in the report of what is not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lxml import etree

from perdura.clients.destinations import Destination
from perdura.ids import new_id
from perdura.outcome import ArchiveView, Package, PackageKind, StepView
from perdura.steps.mapping.choose import merged, read
from perdura.steps.mapping.model import Mapped, mapping, plain
from perdura.steps.mapping.other import short_description
from perdura.steps.mapping.report import SHOWN, Unmapped
from perdura.steps.mapping.vocabularies import CALLED, NEARLY
from perdura.steps.publish_body import Facts, body
from tests.contract.test_inveniordm.ports import AT
from tests.unit.publish.documents import DOCUMENTS

SAID_OTHERWISE = {"Abstract", "Issued", "https://orcid.org"}
"""Types of a text that say which field of a record it is in, and the address of a scheme of identifiers."""
SETTINGS = settings(max_examples=60, suppress_health_check=list(HealthCheck))


def leaves(value: Any) -> Iterator[str]:
    """Every value of a document of JSON, as a text."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    elif value is not None:
        yield str(value).lower() if isinstance(value, bool) else str(value)


def told_by(name: str, data: bytes) -> list[str]:
    """Every text of a document: leaves of JSON, texts and attributes of XML (of MARC, what stands in the fields)."""
    if name.endswith(".json"):
        return [each.strip() for each in leaves(json.loads(data)) if each.strip()]
    root = etree.fromstring(data)
    marc = "slim" in root.tag
    found = [text for each in root.iter() for text in (each.text or "", *(() if marc else each.attrib.values()))]
    return [each.strip() for each in found if each.strip()]


def said_by(record: Any) -> set[str]:
    """What a record says, person by person, and text by text."""
    found = {plain(each) for each in leaves(record)}
    for entry in [*record.get("creators", []), *record.get("contributors", [])]:
        who = mapping(entry["person_or_org"])
        family, given = who.get("family_name", ""), who.get("given_name", "")
        found |= {plain(family + given), plain(given + family)}
    return found


def missing(texts: Sequence[str], record: Any, report: Sequence[Unmapped], documents: Sequence[Any]) -> list[str]:
    """Texts that are neither in the record, as they are or within another text, nor in the report.

    A text with commas may be a list (keywords of an RO-Crate): then each of its parts has to be there. A type of
    resource may go by its name in the vocabulary, which means the same.
    """
    said = said_by(record)
    passed = [text for document in documents for text in _passed(document)]
    reported = [entry.value for entry in report] + passed

    def there(text: str) -> bool:
        shown = text[: SHOWN - 1], json.dumps(text, ensure_ascii=False)[1:-1]
        return (
            any(plain(text) in other for other in said)
            or any(text in other for other in leaves(record))
            or any(way in value for value in reported for way in shown)
            or called(text)
        )

    def called(text: str) -> bool:
        name = re.sub(r"[\s_]", "", text).lower()
        return name not in NEARLY and CALLED.get(name, "none") == record.get("resource_type", {}).get("id")

    def parts(text: str) -> list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]

    return [
        each for each in texts if each not in SAID_OTHERWISE and not there(each) and not all(map(there, parts(each)))
    ]


def _passed(document: Any) -> Iterator[str]:
    """The texts of what a document is known to hold that describes nothing; the report only names them."""
    for path in document.passed:
        value = document.told
        for name in path.split("."):
            value = value[0] if isinstance(value, list) and len(value) == 1 else value
            value = value.get(name) if isinstance(value, dict) else None
        yield from leaves(value)


@given(DOCUMENTS)
@SETTINGS
def test_each_text_of_a_document_is_in_the_record_or_in_the_report(document: tuple[str, bytes]) -> None:
    mapped = read(*document)
    assume(mapped is not None)
    assert mapped is not None
    lost = missing(told_by(*document), mapped.metadata, mapped.report(mapped.metadata), mapped.documents)
    assert not lost, (mapped.form, lost, document[1].decode())


def completed(documents: Sequence[tuple[str, bytes]]) -> tuple[Mapped, dict[str, Any]]:
    """What a step makes of a package with these documents."""
    archive = ArchiveView(
        new_id(), StepView(new_id(), "publish", 1), title="A title", source="cds", recid="1",
        metadata={"url": "https://example.org/records/1", "creators": ["Smith, Jane"], "licence": "cc-by-4.0",
                  "bag_info": [["Contact-Email", "jane@example.org"], ["Source-Organization", "CERN"]]},
    )  # fmt: skip
    destination = Destination(id="x", type="inveniordm", url="https://rdm.test", token={"env": "X"}, publisher="Us")
    aip = Package(new_id(), PackageKind.AIP, "aips", "key", "tar", 5, checksums={"sha256": "ab"})
    page = "https://access.test/archives/1"
    found = [short_description(archive.metadata, archive.title), *(read(*each) for each in documents)]
    mapped = merged(each for each in found if each is not None)
    return mapped, body(mapped, Facts(archive, aip, ["PNG"], ["1 file"], AT, "Us", page, page), destination, files=True)


@given(st.tuples(DOCUMENTS, DOCUMENTS))
@SETTINGS
def test_nothing_is_lost_where_documents_overrule_each_other(documents: tuple[tuple[str, bytes], ...]) -> None:
    mapped, record = completed(documents)
    texts = [text for each in documents if read(*each) for text in told_by(*each)]
    lost = missing([*texts, "jane@example.org", "CERN"], record["metadata"], mapped.report(record), mapped.documents)
    assert not lost, (lost, mapped.metadata)
