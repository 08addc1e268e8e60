"""Indico events, CERN's `sip.json`, and what Perdura itself knows of an Archive."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from perdura.steps.mapping.dates import date
from perdura.steps.mapping.model import Mapped, items, mapping, text
from perdura.steps.mapping.people import creator
from perdura.steps.mapping.report import Document
from perdura.steps.mapping.told import left, made, tell
from perdura.steps.mapping.values import identifier, language, licence, related, resource_type, subject, version

_LATEST = 4_102_444_800
"""The year 2100 in seconds: later times are no times in seconds."""
_INDICO_SYSTEM = (
    "_type", "_fossil", "id", "folders", "occurrences", "hasAnyProtection", "visibility", "roomMapURL", "categoryId",
    "material", "timezone", "ids", "allowed",
)  # fmt: skip
_INDICO_IDS = frozenset(["_type", "_fossil", "id", "db_id", "friendly_id", "person_id", "emailHash"])
_SIP_SYSTEM = (
    "$schema", "created_by", "audit", "source", "recid", "metadataFile_upstream", "contentFiles", "source_details",
    "sip_creation_timestamp", "usr-meta.collection", "usr-meta.embargo_timestamp",
)  # fmt: skip
_REGISTRY = (
    "creators", "description", "publisher", "publication_date", "resource_type", "version", "doi", "identifier",
    "licence", "language", "url",
)  # fmt: skip
"""Of the registry's short description what describes; the rest is about harvest, rights and the package."""
_BAGGING = frozenset([
    "bag-count", "bag-group-identifier", "bag-size", "bag-software-agent", "bagging-date", "bagit-profile-identifier",
    "payload-oxum",
])  # fmt: skip


def indico(told: Any) -> Mapped:
    """An event of Indico's export API; the first of several."""
    results = items(mapping(told).get("results"))
    event = mapping(next(iter(results), None))
    envelope = {name: value for name, value in mapping(told).items() if name != "results"}
    apart: list[Any] = [envelope]
    outline = {**_without(event, apart), "further events": results[1:], "ids": apart}
    document = Document(outline, _INDICO_SYSTEM)
    mapped = Mapped("Indico JSON", documents=[document])
    mapped.put("title", text(event.get("title")))
    mapped.put("description", text(event.get("description")))
    start, close, creation = (mapping(event.get(name)) for name in ("startDate", "endDate", "creationDate"))
    begin, end = date(start.get("date")), date(close.get("date"))
    mapped.put("publication_date", begin)
    if begin:
        whole = made(f"{begin}/{end}", begin, end) if end and begin < end else begin
        times = [found for found in (_moment(start), _moment(close)) if found]
        note = made(f"The event took place ({' to '.join(times)})" if times else "The event took place", *times)
        mapped.add("dates", {"date": whole, "type": {"id": "other"}, "description": note})
    if created := date(creation.get("date")):
        at = _moment(creation)
        entry = {"date": created, "type": {"id": "created"}}
        mapped.add("dates", {**entry, "description": made(f"At {at}", at)} if at else entry)
    mapped.put("resource_type", {"id": made("event", event.get("type"))})
    for who in map(mapping, [*items(event.get("chairs")), event.get("creator")]):
        mapped.add("creators", _who(who))
    for word in items(event.get("keywords")):
        mapped.add("subjects", subject(word))
    mapped.add("subjects", subject(event.get("category")))
    places = [place for name in ("location", "roomFullname", "address") if (place := text(event.get(name)))]
    mapped.place(made(", ".join(places), places, event.get("room")) if places else event.get("room"))
    mapped.add("related_identifiers", related(event.get("url"), "isderivedfrom"))
    titles = [title for each in items(event.get("contributions")) if (title := text(mapping(each).get("title")))]
    mapped.description(made("; ".join(titles), titles) if titles else None, "table-of-contents")
    return mapped


def _without(value: Any, apart: list[Any]) -> Any:
    """What is told of an event; ids and names of types, which only Indico understands, are put apart."""
    if isinstance(value, Mapping):
        apart += [inner for name, inner in value.items() if name in _INDICO_IDS]
        return {name: _without(inner, apart) for name, inner in value.items() if name not in _INDICO_IDS}
    return [_without(inner, apart) for inner in value] if isinstance(value, list) else value


def _who(who: Mapping[str, Any]) -> dict[str, Any] | None:
    first, last = who.get("first_name"), who.get("last_name")
    parts = [part for part in (text(last), text(first)) if part]
    name = text(who.get("fullName")) or (made(", ".join(parts), parts) if parts else None)
    return creator(name, family=last, given=first, affiliations=items(who.get("affiliation")))


def _moment(told: Mapping[str, Any]) -> str:
    """Time of day and time zone of an event."""
    parts = [found for name in ("time", "tz") if (found := text(told.get(name)))]
    return made(" ".join(parts), parts)


def sip_json(told: Any) -> Mapped:
    """CERN's `sip.json`: it describes the package; of the record it knows where it came from."""
    mapped = Mapped("sip.json", documents=[Document(told, _SIP_SYSTEM)])
    value = mapping(told)
    ours = mapping(value.get("perdura"))
    source, recid = text(value.get("source")), text(value.get("recid"))
    mapped.put(
        "title", text(ours.get("title")) or (made(f"{source} {recid}", source, recid) if source and recid else None)
    )
    mapped.add("related_identifiers", related(ours.get("url"), "isderivedfrom"))
    stamp = text(value.get("sip_creation_timestamp")) or ""
    if stamp.isdecimal() and len(stamp) < 12 and 0 < int(stamp) < _LATEST:
        mapped.put("publication_date", datetime.fromtimestamp(int(stamp), UTC).date().isoformat())
    else:
        left(value.get("sip_creation_timestamp"), "It is no time in seconds.")
    mapped.note("Comment", text(mapping(value.get("usr-meta")).get("comment")))
    return mapped


def short_description(metadata: Mapping[str, Any], title: str) -> Mapped:
    """What the registry itself knows of an Archive."""
    pairs = [pair for pair in items(metadata.get("bag_info")) if isinstance(pair, list | tuple) and len(pair) == 2]
    bag: dict[str, list[Any]] = {}
    for label, value in pairs:
        bag.setdefault(str(label), []).append(value)
    told = tell({"title": title, **{name: metadata.get(name) for name in _REGISTRY}, "bag-info": bag})
    passed = [f"bag-info.{label}" for label in bag if label.lower() in _BAGGING]
    mapped = Mapped("registry", documents=[Document(told, passed)])
    mapped.put("title", text(told["title"]))
    for name in items(told["creators"]):
        mapped.add("creators", creator(mapping(name).get("name") or name))
    mapped.put("description", text(told["description"]))
    mapped.put("publisher", text(told["publisher"]))
    mapped.put("publication_date", date(told["publication_date"]))
    mapped.put("resource_type", resource_type(told["resource_type"]))
    mapped.put("version", version(told["version"]))
    mapped.add("languages", language(told["language"]))
    mapped.add("identifiers", identifier(told["doi"], "doi"))
    for entry in items(told["identifier"]):
        mapped.add("identifiers", identifier(entry))
    for entry in items(told["licence"]):
        mapped.add("rights", licence(entry))
    mapped.add("related_identifiers", related(told["url"], "isderivedfrom"))
    for label, values in told["bag-info"].items():
        for value in values:
            _bag_info(mapped, label.lower(), text(value))
    return mapped


def _bag_info(mapped: Mapped, label: str, value: Any) -> None:
    match label:
        case "external-description" | "internal-sender-description":
            mapped.description(value, "other" if "description" in mapped.metadata else "abstract")
        case "source-organization" | "organization":
            mapped.publisher(value)
        case "title":
            mapped.title(value)
        case "author" | "creator":
            mapped.add("creators", creator(value))
        case "external-identifier" | "internal-sender-identifier":
            mapped.add("identifiers", identifier(value))
