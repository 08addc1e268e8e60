"""What the fake InvenioRDM accepts of a record's body: the three kinds of refusal (inveniordm.md 1.2)."""

from __future__ import annotations

import re
from typing import Any

RESOURCE_TYPES = {
    "publication", "publication-annotationcollection", "publication-book", "publication-section",
    "publication-conferencepaper", "publication-conferenceproceeding", "publication-datamanagementplan",
    "publication-journal", "publication-article", "publication-patent", "publication-peerreview",
    "publication-preprint", "publication-deliverable", "publication-milestone", "publication-proposal",
    "publication-report", "publication-softwaredocumentation", "publication-taxonomictreatment",
    "publication-technicalnote", "publication-workingpaper", "publication-datapaper", "publication-dissertation",
    "publication-standard", "publication-studyregistration", "publication-other", "poster", "presentation", "event",
    "dataset", "image", "image-figure", "image-plot", "image-drawing", "image-diagram", "image-photo", "image-other",
    "model", "video", "audio", "software", "lesson", "software-computationalnotebook", "other", "physicalobject",
    "workflow", "project", "instrument",
}  # fmt: skip
RELATIONS = {
    "iscitedby", "cites", "issupplementto", "issupplementedby", "iscontinuedby", "continues", "isdescribedby",
    "describes", "hasmetadata", "ismetadatafor", "hasversion", "isversionof", "isnewversionof", "ispreviousversionof",
    "ispartof", "haspart", "ispublishedin", "isreferencedby", "references", "isdocumentedby", "documents",
    "iscompiledby", "compiles", "isvariantformof", "isoriginalformof", "isidenticalto", "isreviewedby", "reviews",
    "isderivedfrom", "issourceof", "isrequiredby", "requires", "isobsoletedby", "obsoletes", "istranslationof",
    "hastranslation", "iscollectedby", "collects", "other",
}  # fmt: skip
ROLES = {
    "contactperson", "datacollector", "datacurator", "datamanager", "distributor", "editor", "hostinginstitution",
    "producer", "projectleader", "projectmanager", "projectmember", "registrationagency", "registrationauthority",
    "relatedperson", "researcher", "researchgroup", "rightsholder", "sponsor", "supervisor", "translator",
    "workpackageleader", "other",
}  # fmt: skip
DESCRIPTIONS = {
    "abstract", "methods", "series-information", "table-of-contents", "technical-info", "other",
}  # fmt: skip
REMOVALS = {
    "duplicate", "retracted", "replaced", "spam", "test-record", "copyright", "personal-data", "take-down-request",
    "disputed-authorship", "misconduct", "fraud", "out-of-scope",
}  # fmt: skip
LANGUAGES = {"eng", "fra", "deu"}
RIGHTS = {"cc-by-4.0", "cc0-1.0"}
VOCABULARIES = {
    "resourcetypes": RESOURCE_TYPES,
    "relationtypes": RELATIONS,
    "contributorsroles": ROLES,
    "descriptiontypes": DESCRIPTIONS,
    "removalreasons": REMOVALS,
}
METADATA = {
    "title", "creators", "contributors", "publication_date", "publisher", "resource_type", "description", "identifiers",
    "additional_titles", "additional_descriptions", "related_identifiers", "dates", "languages", "rights", "subjects",
    "funding", "sizes", "formats", "version", "locations", "copyright", "references",
}  # fmt: skip
CUSTOM_FIELDS = {"oais:aip_id", "oais:source_id", "oais:fixity", "oais:artifacts"}
ARTIFACT = {"type", "link", "path", "checksum", "add_details", "timestamp"}
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?(/\d{4}(-\d{2}(-\d{2})?)?)?")
_DOI = re.compile(r"10\.\d{4,9}/\S+")

Errors = list[dict[str, Any]]


class Invalid(Exception):
    """The body is refused with 400: nothing is stored, the field is not named."""

    def __init__(self, message: str, errors: Errors | None = None) -> None:
        super().__init__(message)
        self.message, self.errors = message, errors


def judged(body: dict[str, Any], dois: set[str]) -> tuple[dict[str, Any], Errors]:
    """The body as it is stored, without what is wrong in it, and what is said against it; raises Invalid."""
    metadata = dict(body.get("metadata") or {})
    _vocabularies(metadata)
    access = _access(body.get("access"))
    errors: Errors = []
    kept = _metadata(metadata, errors)
    if "metadata" not in body:
        errors = [error for error in errors if error["field"] == "metadata.publisher"]
    custom = _custom_fields(dict(body.get("custom_fields") or {}), errors)
    pids = _pids(dict(body.get("pids") or {}), dois, errors)
    until = (access.get("embargo") or {}).get("until")
    if until and until < "2026-06-01":
        _complain(errors, "access.embargo.until", "Embargo end date must be set to a future date.")
        access["embargo"] = {"active": False, "reason": None}
    return {"metadata": kept, "custom_fields": custom, "access": access, "pids": pids}, errors


def _complain(errors: Errors, field: str, message: str) -> None:
    errors.append({"field": field, "messages": [message]})


def _vocabularies(metadata: dict[str, Any]) -> None:
    def check(value: Any, known: set[str]) -> None:
        identifier = (value or {}).get("id")
        if identifier is not None and identifier not in known:
            raise Invalid(f"Invalid value {identifier}.")

    check(metadata.get("resource_type"), RESOURCE_TYPES)
    for key, inner, known in (
        ("languages", None, LANGUAGES),
        ("rights", None, RIGHTS),
        ("contributors", "role", ROLES),
        ("related_identifiers", "relation_type", RELATIONS),
        ("additional_descriptions", "type", DESCRIPTIONS),
    ):
        for entry in metadata.get(key) or []:
            check(entry if inner is None else entry.get(inner), known)


def _access(told: Any) -> dict[str, Any]:
    access = dict(told or {"record": "public", "files": "public"})
    for name in ("record", "files"):
        if access.get(name) not in {"public", "restricted"}:
            raise Invalid("A validation error occurred.", [{"field": "access", "messages": [f"'{name}'"]}])
    if access["record"] == "restricted":
        access["files"] = "restricted"
    return access


def _metadata(metadata: dict[str, Any], errors: Errors) -> dict[str, Any]:
    for name in metadata.keys() - METADATA:
        _complain(errors, f"metadata.{name}", "Unknown field.")
    kept = {name: value for name, value in metadata.items() if name in METADATA}
    for name in ("resource_type", "creators", "title", "publication_date"):
        if not kept.get(name):
            _complain(errors, f"metadata.{name}", "Missing data for required field.")
    if kept.get("title") and len(kept["title"]) < 3:
        _complain(errors, "metadata.title", "Shorter than minimum length 3.")
        del kept["title"]
    if kept.get("publication_date") and not _DATE.fullmatch(kept["publication_date"]):
        _complain(errors, "metadata.publication_date", "Please provide a valid date or interval.")
        del kept["publication_date"]
    if not kept.get("publisher"):
        _complain(errors, "metadata.publisher", "Missing publisher field required for DOI registration.")
    for list_name in ("creators", "contributors"):
        for number, entry in enumerate(kept.get(list_name) or []):
            _person(f"metadata.{list_name}.{number}", entry, errors, role=list_name == "contributors")
    for number, entry in enumerate(kept.get("related_identifiers") or []):
        if "relation_type" not in entry:
            _complain(
                errors, f"metadata.related_identifiers.{number}.relation_type", "Missing data for required field."
            )
    for number, entry in enumerate(kept.get("identifiers") or []):
        if entry.get("scheme") == "doi" and not _DOI.fullmatch(entry["identifier"]):
            _complain(errors, f"metadata.identifiers.{number}.identifier", "Invalid DOI identifier.")
    if isinstance(kept.get("description"), str):
        kept["description"] = re.sub(r"<script.*?</script>| on\w+=\S+(?=[ >])", "", kept["description"])
    return kept


def _person(where: str, entry: dict[str, Any], errors: Errors, *, role: bool) -> None:
    who = entry.get("person_or_org") or {}
    if who.get("type") == "personal" and not who.get("family_name"):
        _complain(errors, f"{where}.person_or_org.family_name", "Family name cannot be blank.")
    if role and not entry.get("role"):
        _complain(errors, f"{where}.role", "Missing data for required field.")
    for number, identifier in enumerate(who.get("identifiers") or []):
        if identifier.get("scheme") == "orcid" and not re.fullmatch(
            r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]", identifier["identifier"]
        ):
            field = f"{where}.person_or_org.identifiers.{number}.identifier"
            _complain(errors, field, "Invalid ORCID identifier.")


def _custom_fields(told: dict[str, Any], errors: Errors) -> dict[str, Any]:
    for name in told.keys() - CUSTOM_FIELDS:
        _complain(errors, f"custom_fields.{name}", "Unknown field.")
    for number, entry in enumerate(told.get("oais:artifacts") or []):
        for name in entry.keys() - ARTIFACT:
            _complain(errors, f"custom_fields.oais:artifacts.{number}.{name}", "Unknown field.")
    return {name: value for name, value in told.items() if name in CUSTOM_FIELDS}


def _pids(told: dict[str, Any], dois: set[str], errors: Errors) -> dict[str, Any]:
    for name in told.keys() - {"doi", "oai"}:
        errors.append({"field": f"pids.{name}.key", "messages": list("Invalid persistent identifier scheme.")})
    doi = (told.get("doi") or {}).get("identifier")
    if doi in dois:
        _complain(errors, "pids.doi", f"doi:{doi} already exists.")
        return {}
    if doi and not _DOI.fullmatch(doi):
        _complain(errors, "pids.doi", "Invalid DOI")
        return {}
    return {name: value for name, value in told.items() if name in {"doi", "oai"}}
