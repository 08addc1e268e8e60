"""Rights as PREMIS statements, when the producer gave any: licences, embargoes, restricted access (PREMIS 3.0, 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from perdura.outcome import ArchiveView
from perdura.packages.mets_xml import escaped

_LABELS = frozenset({"rights", "license", "licence", "rights-statement", "access-rights", "dc-rights"})
"""Labels of bag-info.txt that producers use for rights; the standard reserves none."""

_KEYS = ("rights", "license", "rightsList", "rights_list")


def statements(
    archive: ArchiveView,
    bag_info: Sequence[tuple[str, str]],
    sip_json: Mapping[str, Any],
    derived: Callable[[str], UUID],
) -> list[str]:
    """One `premis:rightsStatement` for each licence, one for an embargo, one for restricted access."""
    found = []
    for terms, address in dict.fromkeys(_licences(archive.metadata, bag_info)):
        found.append(_statement("license", _licence(terms, address), archive, derived(f"rights/{terms}/{address}")))
    embargo = _usr_meta(sip_json).get("embargo_timestamp")
    if embargo:
        found.append(_statement("other", _embargo(embargo, archive.created_at), archive, derived("rights/embargo")))
    if archive.restricted:
        basis = "<premis:otherRightsInformation><premis:otherRightsBasis>access restricted by the source"
        inner = f"{basis}</premis:otherRightsBasis></premis:otherRightsInformation>{_granted('not public', None, None)}"
        found.append(_statement("other", inner, archive, derived("rights/restricted")))
    return found


def _licences(metadata: Mapping[str, Any], bag_info: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for label, value in bag_info:
        if label.lower() in _LABELS and value:
            yield value, ""
    datacite = metadata.get("datacite")
    for source in (metadata, datacite if isinstance(datacite, Mapping) else {}):
        for key in _KEYS:
            yield from _licence_of(source.get(key))


def _licence_of(value: object) -> Iterator[tuple[str, str]]:
    """Text, a DataCite `rightsList` item, an InvenioRDM `rights` item, or a list of any of them."""
    if isinstance(value, str) and value:
        yield value, ""
    elif isinstance(value, Mapping):
        title = value.get("rights") or value.get("title") or value.get("id")
        if isinstance(title, Mapping):
            title = title.get("en") or next(iter(title.values()), None)
        address = value.get("rightsUri") or value.get("link") or value.get("url") or ""
        if isinstance(title, str) and title:
            yield title, address if isinstance(address, str) else ""
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _licence_of(item)


def _usr_meta(sip_json: Mapping[str, Any]) -> Mapping[str, Any]:
    found = sip_json.get("usr-meta")
    return found if isinstance(found, Mapping) else {}


def _licence(terms: str, address: str) -> str:
    identifier = (
        "<premis:licenseDocumentationIdentifier><premis:licenseDocumentationIdentifierType>URI"
        "</premis:licenseDocumentationIdentifierType><premis:licenseDocumentationIdentifierValue>"
        f"{escaped(address)}</premis:licenseDocumentationIdentifierValue></premis:licenseDocumentationIdentifier>"
        if address
        else ""
    )
    return (
        f"<premis:licenseInformation>{identifier}<premis:licenseTerms>{escaped(terms)}</premis:licenseTerms>"
        "</premis:licenseInformation>"
    )


def _embargo(until: object, since: datetime | None) -> str:
    """An embargo until an instant (Unix seconds) or a date, or in the producer's words (cern-oais-platform.md §2)."""
    end = _day(until)
    note = "" if end else f"<premis:otherRightsNote>{escaped(str(until))}</premis:otherRightsNote>"
    return (
        "<premis:otherRightsInformation><premis:otherRightsBasis>embargo</premis:otherRightsBasis>"
        f"{note}</premis:otherRightsInformation>{_granted('embargoed', since, end)}"
    )


def _day(value: object) -> date | None:
    try:
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, UTC).date()
        return date.fromisoformat(str(value)[:10])
    except (ValueError, OverflowError, OSError):
        return None


def _granted(restriction: str, since: datetime | None, end: date | None) -> str:
    term = (
        f"<premis:termOfRestriction><premis:startDate>{since.date().isoformat()}</premis:startDate>"
        f"<premis:endDate>{end.isoformat()}</premis:endDate></premis:termOfRestriction>"
        if since and end
        else ""
    )
    return (
        "<premis:rightsGranted><premis:act>disseminate</premis:act>"
        f"<premis:restriction>{restriction}</premis:restriction>{term}</premis:rightsGranted>"
    )


def _statement(basis: str, inner: str, archive: ArchiveView, identity: UUID) -> str:
    return (
        '<premis:rightsStatement xmlns:premis="http://www.loc.gov/premis/v3">'
        "<premis:rightsStatementIdentifier><premis:rightsStatementIdentifierType>UUID"
        f"</premis:rightsStatementIdentifierType><premis:rightsStatementIdentifierValue>{identity}"
        "</premis:rightsStatementIdentifierValue></premis:rightsStatementIdentifier>"
        f"<premis:rightsBasis>{basis}</premis:rightsBasis>{inner}"
        "<premis:linkingObjectIdentifier><premis:linkingObjectIdentifierType>UUID"
        f"</premis:linkingObjectIdentifierType><premis:linkingObjectIdentifierValue>{archive.id}"
        "</premis:linkingObjectIdentifierValue></premis:linkingObjectIdentifier></premis:rightsStatement>"
    )
