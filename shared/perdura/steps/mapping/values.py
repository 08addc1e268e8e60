"""Single values in the form that InvenioRDM takes (inveniordm.md 1.2): dates, people, identifiers, licences, types."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from perdura.steps.mapping.model import Mapped

RESOURCE_TYPES = frozenset(
    [
        "publication",
        "publication-annotationcollection",
        "publication-book",
        "publication-section",
        "publication-conferencepaper",
        "publication-conferenceproceeding",
        "publication-datamanagementplan",
        "publication-journal",
        "publication-article",
        "publication-patent",
        "publication-peerreview",
        "publication-preprint",
        "publication-deliverable",
        "publication-milestone",
        "publication-proposal",
        "publication-report",
        "publication-softwaredocumentation",
        "publication-taxonomictreatment",
        "publication-technicalnote",
        "publication-workingpaper",
        "publication-datapaper",
        "publication-dissertation",
        "publication-standard",
        "publication-studyregistration",
        "publication-other",
        "poster",
        "presentation",
        "event",
        "dataset",
        "image",
        "image-figure",
        "image-plot",
        "image-drawing",
        "image-diagram",
        "image-photo",
        "image-other",
        "model",
        "video",
        "audio",
        "software",
        "software-computationalnotebook",
        "lesson",
        "other",
        "physicalobject",
        "workflow",
        "project",
        "instrument",
    ]
)
_TYPES = {
    "article": "publication-article", "book": "publication-book", "preprint": "publication-preprint",
    "thesis": "publication-dissertation", "dissertation": "publication-dissertation", "report": "publication-report",
    "conferencepaper": "publication-conferencepaper", "journalarticle": "publication-article",
    "text": "publication", "audiovisual": "video", "movingimage": "video", "movie": "video", "sound": "audio",
    "stillimage": "image", "photo": "image-photo", "photolab": "image-photo", "picture": "image-photo",
    "computationalnotebook": "software-computationalnotebook", "slides": "presentation", "talk": "presentation",
    "collection": "dataset", "supplementaries": "dataset", "environment": "software", "conference": "event",
    "lecture": "event", "meeting": "event", "datapaper": "publication-datapaper", "standard": "publication-standard",
    "peerreview": "publication-peerreview", "journal": "publication-journal", "bookchapter": "publication-section",
    "conferenceproceeding": "publication-conferenceproceeding", "outputmanagementplan":
    "publication-datamanagementplan", "interactiveresource": "other", "service": "other", "articles & preprints":
    "publication-preprint", "videoslhc": "video", "videos": "video", "cern-video": "video",
}  # fmt: skip
RELATIONS = frozenset(
    [
        "iscitedby",
        "cites",
        "issupplementto",
        "issupplementedby",
        "iscontinuedby",
        "continues",
        "isdescribedby",
        "describes",
        "hasmetadata",
        "ismetadatafor",
        "hasversion",
        "isversionof",
        "isnewversionof",
        "ispreviousversionof",
        "ispartof",
        "haspart",
        "ispublishedin",
        "isreferencedby",
        "references",
        "isdocumentedby",
        "documents",
        "iscompiledby",
        "compiles",
        "isvariantformof",
        "isoriginalformof",
        "isidenticalto",
        "isreviewedby",
        "reviews",
        "isderivedfrom",
        "issourceof",
        "isrequiredby",
        "requires",
        "isobsoletedby",
        "obsoletes",
    ]
)
ROLES = frozenset(
    [
        "contactperson",
        "datacollector",
        "datacurator",
        "datamanager",
        "distributor",
        "editor",
        "hostinginstitution",
        "producer",
        "projectleader",
        "projectmanager",
        "projectmember",
        "registrationagency",
        "registrationauthority",
        "relatedperson",
        "researcher",
        "researchgroup",
        "rightsholder",
        "sponsor",
        "supervisor",
        "workpackageleader",
        "other",
    ]
)
DATE_TYPES = frozenset(
    [
        "accepted",
        "available",
        "collected",
        "copyrighted",
        "created",
        "issued",
        "other",
        "submitted",
        "updated",
        "valid",
        "withdrawn",
    ]
)
TITLE_TYPES = frozenset(["alternative-title", "subtitle", "translated-title", "other"])
DESCRIPTION_TYPES = frozenset(
    ["abstract", "methods", "series-information", "table-of-contents", "technical-info", "other"]
)
_LANGUAGES = {
    "en": "eng", "fr": "fra", "de": "deu", "it": "ita", "es": "spa", "pt": "por", "nl": "nld", "sv": "swe", "no": "nor",
    "nb": "nob", "da": "dan", "fi": "fin", "pl": "pol", "cs": "ces", "sk": "slk", "sl": "slv", "hu": "hun", "ro": "ron",
    "bg": "bul", "el": "ell", "ru": "rus", "uk": "ukr", "tr": "tur", "ar": "ara", "he": "heb", "hi": "hin",
    "ja": "jpn", "ko": "kor", "zh": "zho", "ca": "cat", "eu": "eus", "ga": "gle", "lt": "lit", "lv": "lav",
    "et": "est", "hr": "hrv", "sr": "srp", "fre": "fra", "ger": "deu", "dut": "nld", "cze": "ces", "gre": "ell",
    "chi": "zho", "rum": "ron", "slo": "slk", "baq": "eus", "english": "eng", "french": "fra", "german": "deu",
}  # fmt: skip
_DATE = re.compile(r"(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2}))?)?(?:[T ].*)?")
_DAY_MONTH = re.compile(r"(\d{1,2})\s+([A-Za-z]{3})[a-z]*\.?\s+(\d{4})")
_ANY_YEAR = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?!\d)")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DOI = re.compile(r"10\.\d{4,9}/[!-~]+")
_ORCID_RANGES = ((15_000_000, 35_000_000), (900_000_000_000, 900_100_000_000))
"""Blocks of ISNI numbers that are set aside for ORCID."""
_ORCID = re.compile(r"(\d{4}-\d{4}-\d{4}-\d{3}[\dX])")


def date(value: Any) -> str | None:
    """A date as EDTF level 0 (`2026`, `2026-01`, `2026-01-02`, `1939/1945`); None when none can be seen in it."""
    if isinstance(value, int):
        value = str(value)
    if not isinstance(value, str):
        return None
    written = value.strip()
    if "/" in written and not re.fullmatch(r"\d{4}/\d{1,2}(/\d{1,2})?", written):
        begin, _, end = written.partition("/")
        first, last = date(begin), date(end)
        return f"{first}/{last}" if first and last and first <= last else first
    if match := _DATE.fullmatch(written):
        return _checked(*match.groups())
    if match := _DAY_MONTH.search(written):
        month = match[2].lower()
        if month in _MONTHS:
            return _checked(match[3], str(_MONTHS.index(month) + 1), match[1])
    found = _ANY_YEAR.search(written)
    return found[0] if found else None


def _checked(year: str, month: str | None, day: str | None) -> str | None:
    """As much of a date as is possible: a 31st of April becomes April."""
    if month is None or not 1 <= int(month) <= 12:
        return year
    if day is None or not 1 <= int(day) <= _DAYS[int(month) - 1]:
        return f"{year}-{int(month):02d}"
    leap = int(year) % 4 == 0 and (int(year) % 100 != 0 or int(year) % 400 == 0)
    if int(month) == 2 and int(day) == 29 and not leap:
        return f"{year}-02"
    return f"{year}-{int(month):02d}-{int(day):02d}"


def person(name: str, *, orcid: Any = None, organisation: bool | None = None) -> dict[str, Any]:
    """A `person_or_org`. Without a comma it is an organisation, unless the Source says that it is a person."""
    name = " ".join(name.split())[:500]
    family, comma, given = name.partition(",")
    if organisation or (organisation is None and not comma) or not family.strip():
        return {"type": "organizational", "name": name}
    if not comma:
        given, _, family = name.rpartition(" ")
    found: dict[str, Any] = {"type": "personal", "family_name": family.strip(), "given_name": given.strip()}
    if not found["given_name"]:
        del found["given_name"]
    identifier = orcid_of(orcid)
    if identifier:
        found["identifiers"] = [{"scheme": "orcid", "identifier": identifier}]
    return found


def orcid_of(value: Any) -> str | None:
    """An ORCID iD of an assigned block whose check digit is right (ISO 7064 11-2); InvenioRDM refuses others."""
    match = _ORCID.search(value) if isinstance(value, str) else None
    if match is None:
        return None
    total = 0
    for digit in match[1].replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    check = (12 - total % 11) % 11
    number = int(match[1].replace("-", "")[:-1])
    assigned = any(first <= number <= last for first, last in _ORCID_RANGES)
    return match[1] if assigned and match[1][-1] == ("X" if check == 10 else str(check)) else None


def creator(
    name: Any,
    *,
    orcid: Any = None,
    organisation: bool | None = None,
    affiliations: Any = (),
    report: Mapped | None = None,
) -> dict[str, Any] | None:
    """An entry of `creators`; None without a name. An ORCID iD that cannot be one is reported and left out."""
    if not isinstance(name, str) or not name.strip():
        return None
    if report is not None and orcid_of(orcid) is None:
        report.miss("orcid", orcid, f"It is not an ORCID iD ({name.strip()[:80]}).")
    entry: dict[str, Any] = {"person_or_org": person(name, orcid=orcid, organisation=organisation)}
    places = [{"name": place.strip()[:500]} for place in affiliations if isinstance(place, str) and place.strip()]
    if places:
        entry["affiliations"] = places
    return entry


def contributor(entry: dict[str, Any] | None, role: Any) -> dict[str, Any] | None:
    """An entry of `contributors`: a creator with a role of the vocabulary."""
    if entry is None:
        return None
    known = str(role or "").lower().replace(" ", "")
    return {**entry, "role": {"id": known if known in ROLES else "other"}}


def doi(value: Any) -> str | None:
    """A DOI without its resolver."""
    match = _DOI.search(unquote(value)) if isinstance(value, str) else None
    return match[0].rstrip(".,;") if match else None


def identifier(value: Any, scheme: Any = None) -> dict[str, str] | None:
    """An identifier with the scheme that its form shows; `other` for any other text."""
    if not isinstance(value, str) or not value.strip():
        return None
    written = value.strip()
    if str(scheme or "").lower() in ("", "doi") and (found := doi(written)):
        return {"scheme": "doi", "identifier": found}
    if written.startswith(("http://", "https://")):
        return {"scheme": "url", "identifier": written}
    if re.fullmatch(r"urn:[a-z0-9][a-z0-9-]{1,31}:\S+", written, re.IGNORECASE):
        return {"scheme": "urn", "identifier": written}
    return {"scheme": "other", "identifier": written[:500]}


def related(value: Any, relation: Any, scheme: Any = None, kind: Any = None) -> dict[str, Any] | None:
    """An entry of `related_identifiers`; an unknown relation becomes `references`."""
    found = identifier(value, scheme)
    if found is None:
        return None
    known = str(relation or "").lower()
    entry: dict[str, Any] = {**found, "relation_type": {"id": known if known in RELATIONS else "references"}}
    if isinstance(kind, str) and kind in RESOURCE_TYPES:
        entry["resource_type"] = {"id": kind}
    return entry


def licence(title: Any, url: Any = None) -> dict[str, Any] | None:
    """An entry of `rights` as free text: a licence that the instance's vocabulary lacks would be refused."""
    name = title.strip() if isinstance(title, str) else ""
    link = url.strip() if isinstance(url, str) else ""
    if not link and name.startswith(("http://", "https://")):
        link = name
    if not name and not link:
        return None
    entry: dict[str, Any] = {"title": {"en": (name or link)[:1000]}}
    if link.startswith(("http://", "https://")):
        entry["link"] = link
    return entry


def language(value: Any) -> dict[str, str] | None:
    """A language by its code of three letters."""
    code = str(value or "").strip().lower().split("-")[0]
    code = _LANGUAGES.get(code, code)
    return {"id": code} if re.fullmatch(r"[a-z]{3}", code) else None


def resource_type(*values: Any) -> dict[str, str] | None:
    """The first value that is a resource type of the vocabulary, or is called like one."""
    for value in values:
        word = str(value or "").strip().lower()
        for name in (word, word.replace(" ", ""), word.replace("/", "-")):
            if name in RESOURCE_TYPES:
                return {"id": name}
            if name in _TYPES:
                return {"id": _TYPES[name]}
    return None
