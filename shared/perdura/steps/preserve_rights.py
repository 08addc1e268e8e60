"""Rights as PREMIS statements, when the producer gave any: licences, embargoes, restricted access (PREMIS 3.0, 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from perdura.outcome import ArchiveView
from perdura.packages.mets_xml import escaped
from perdura.steps.preserve_rights_read import ToldRights, day_of, embargo_of, licences_of

_LABELS = frozenset({"rights", "license", "licence", "rights-statement", "access-rights", "dc-rights"})
"""Labels of bag-info.txt that producers use for rights; the standard reserves none."""

_KEYS = ("rights", "license", "rightsList", "rights_list")
_HARVESTED = "licence"
"""What a harvest notes in short of the licences that the record, which lies in the submission, tells in full."""


def statements(
    archive: ArchiveView,
    bag_info: Sequence[tuple[str, str]],
    sip_json: Mapping[str, Any],
    told: ToldRights,
    derived: Callable[[str], UUID],
) -> list[str]:
    """One `premis:rightsStatement` for each licence and each end of an embargo, one for restricted access."""
    found = []
    for terms, address in _distinct(_licences(archive.metadata, bag_info, told)):
        found.append(_statement("license", _licence(terms, address), archive, derived(f"rights/{terms}/{address}")))
    for until in _embargoes(archive, sip_json, told):
        identity = derived(f"rights/embargo/{until}")
        found.append(_statement("other", _embargo(until, archive.created_at), archive, identity))
    if archive.restricted:
        basis = "<premis:otherRightsInformation><premis:otherRightsBasis>access restricted by the source"
        inner = f"{basis}</premis:otherRightsBasis></premis:otherRightsInformation>{_granted('not public', None, None)}"
        found.append(_statement("other", inner, archive, derived("rights/restricted")))
    return found


def _licences(
    metadata: Mapping[str, Any], bag_info: Sequence[tuple[str, str]], told: ToldRights
) -> Iterator[tuple[str, str]]:
    for label, value in bag_info:
        if label.lower() in _LABELS and value:
            yield value, ""
    yield from told.licences
    datacite = metadata.get("datacite")
    for source in (metadata, datacite if isinstance(datacite, Mapping) else {}):
        for key in _KEYS:
            yield from licences_of(source.get(key))
    if not told.licences:
        yield from licences_of(metadata.get(_HARVESTED))


def _distinct(licences: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each licence once, by its address or else its terms, in the words in which it was met first."""
    found: dict[str, tuple[str, str]] = {}
    for terms, address in licences:
        plain = address.lower().partition("://")[2].removesuffix("/").removesuffix("/legalcode")
        found.setdefault(plain or terms.lower(), (terms, address))
    return list(found.values())


def _embargoes(archive: ArchiveView, sip_json: Mapping[str, Any], told: ToldRights) -> list[object]:
    """Ends of embargoes: what sip.json says, and days after the deposit on which the files become open."""
    stated, noted = embargo_of(sip_json), archive.metadata.get("embargo_until")
    found: dict[str, object] = {str(day_of(stated) or stated): stated} if stated else {}
    known = day_of(noted.partition("/")[0]) if isinstance(noted, str) else None
    for day in (*told.days(), *([known] if known else ())):
        if archive.created_at is None or day > archive.created_at.date():
            found.setdefault(str(day), day)
    return list(found.values())


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
    end = day_of(until)
    note = "" if end else f"<premis:otherRightsNote>{escaped(str(until))}</premis:otherRightsNote>"
    return (
        "<premis:otherRightsInformation><premis:otherRightsBasis>embargo</premis:otherRightsBasis>"
        f"{note}</premis:otherRightsInformation>{_granted('embargoed', since, end)}"
    )


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
