"""A published Archive as schema.org JSON-LD and as DataCite JSON (metadata schema 4.6)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

from markupsafe import Markup

from perdura.web.description import Description
from perdura.web.holdings import Holding

_TYPES = {
    "dataset": ("Dataset", "Dataset"),
    "software": ("SoftwareSourceCode", "Software"),
    "image": ("ImageObject", "Image"),
    "video": ("VideoObject", "Audiovisual"),
    "publication": ("ScholarlyArticle", "Text"),
    "publication-article": ("ScholarlyArticle", "JournalArticle"),
    "publication-thesis": ("Thesis", "Dissertation"),
    "thesis": ("Thesis", "Dissertation"),
    "presentation": ("PresentationDigitalDocument", "Text"),
}
_OTHER = ("CreativeWork", "Other")


def types_of(description: Description) -> tuple[str, str]:
    """The schema.org type and the DataCite general type."""
    return _TYPES.get((description.resource_type or "").lower(), _OTHER)


def json_ld(description: Description, holdings: Sequence[Holding]) -> dict[str, Any]:
    """schema.org metadata; its `distribution` are the files that can be read alone."""
    found: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": types_of(description)[0],
        "@id": description.url,
        "url": description.url,
        "identifier": [f"https://doi.org/{description.doi}"] if description.doi else [],
        "name": description.title,
        "description": description.description,
        "creator": [
            {"@type": "Person", "@id": description.creator_urls.get(name), "name": name}
            for name in description.creators
        ],
        "datePublished": description.date,
        "version": description.version,
        "license": list(description.licence_urls),
        "publisher": {"@type": "Organization", "name": description.publisher} if description.publisher else None,
        "isBasedOn": description.source_url,
        "isAccessibleForFree": description.embargo is None,
        "distribution": [
            {
                "@type": "DataDownload",
                "name": holding.path,
                "contentUrl": holding.url,
                "contentSize": str(holding.size),
                "encodingFormat": holding.media_type,
                "sha256": holding.checksums.get("sha256"),
            }
            for holding in holdings
            if holding.url is not None
        ],
    }
    return _present(found)


def datacite(description: Description, holdings: Sequence[Holding]) -> dict[str, Any]:
    """DataCite JSON as its REST API shows it (`application/vnd.datacite.datacite+json`)."""
    related = [description.source_url] if description.source_url else []
    found: dict[str, Any] = {
        "schemaVersion": "http://datacite.org/schema/kernel-4",
        "doi": description.doi,
        "identifiers": [
            {"identifier": str(description.id), "identifierType": "UUID"},
            *([{"identifier": description.doi, "identifierType": "DOI"}] if description.doi else []),
        ],
        "creators": [_creator(description, name) for name in description.creators] or [{"name": ":unkn"}],
        "titles": [{"title": description.title}],
        "publisher": {"name": description.publisher or ":unkn"},
        "publicationYear": description.year,
        "dates": [
            *([{"date": description.date, "dateType": "Issued"}] if description.date else []),
            {"date": available(description).isoformat(), "dateType": "Available"},
        ],
        "types": {
            "resourceTypeGeneral": types_of(description)[1],
            "resourceType": description.resource_type or "Archive",
            "schemaOrg": types_of(description)[0],
        },
        "descriptions": [{"description": description.description, "descriptionType": "Abstract"}]
        if description.description
        else [],
        "version": description.version,
        "rightsList": [{"rights": licence} for licence in description.licences],
        "relatedIdentifiers": [
            {"relatedIdentifier": url, "relatedIdentifierType": "URL", "relationType": "IsDerivedFrom"}
            for url in related
        ],
        "formats": sorted({holding.media_type for holding in holdings if holding.media_type}),
        "sizes": [f"{sum(holding.size for holding in holdings)} bytes"] if holdings else [],
        "url": description.url,
    }
    return _present(found)


def available(description: Description) -> date:
    """The day from which its files may be had: that of the publication, or the end of the embargo on them."""
    return description.embargo or description.published_at.date()


def _creator(description: Description, name: str) -> dict[str, Any]:
    address = description.creator_urls.get(name)
    if address is None:
        return {"name": name}
    known = {"nameIdentifier": address, "nameIdentifierScheme": "ORCID", "schemeUri": "https://orcid.org"}
    return {"name": name, "nameType": "Personal", "nameIdentifiers": [known]}


def _present(members: dict[str, Any]) -> dict[str, Any]:
    """The members that are known, at every depth."""
    return {key: _pruned(value) for key, value in members.items() if value is not None and value != []}


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return _present(value)
    return [_pruned(item) for item in value] if isinstance(value, list) else value


def embedded(value: dict[str, Any]) -> Markup:
    """JSON for a script element: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704
