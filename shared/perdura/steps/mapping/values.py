"""Single values in the form that InvenioRDM takes (inveniordm.md 1.2): dates, people, identifiers, licences, types."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from perdura.steps.mapping.model import mapping, plain, text
from perdura.steps.mapping.told import cut, joined, left, made
from perdura.steps.mapping.vocabularies import CALLED, DATE_TYPES, LANGUAGES, NEARLY, RELATIONS, RESOURCE_TYPES, ROLES

_DATE = re.compile(r"(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2}))?)?(?P<more>[T ].*)?")
_DAY_MONTH = re.compile(r"(\d{1,2})\s+([A-Za-z]{3})[a-z]*\.?\s+(\d{4})")
_ANY_YEAR = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?!\d)")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DOI = re.compile(r"10\.\d{4,9}/[!-~]+")
_RESOLVERS = frozenset(["", "doi", "httpsdoiorg", "httpdoiorg", "httpdxdoiorg", "httpsdxdoiorg"])
"""What may stand before a DOI that is the whole of a value, as `plain` gives it."""
_ORCID_RANGES = ((15_000_000, 35_000_000), (900_000_000_000, 900_100_000_000))
"""Blocks of ISNI numbers that are set aside for ORCID."""
_ORCID = re.compile(r"(\d{4}-\d{4}-\d{4}-\d{3}[\dX])")
_ISNI = re.compile(r"(?:https?://(?:www\.)?isni\.org/(?:isni/)?)?((?:\d{4}[- ]?){3}\d{3}[\dX])", re.ASCII)
_GND = re.compile(
    r"(?:gnd:|https?://d-nb\.info/gnd/)?(1[012]?\d{7}[\dX]|[47]\d{6}-\d|[1-9]\d{0,7}-[\dX]|3\d{7}[\dX])", re.ASCII
)
_ROR = re.compile(r"(?:(?:https?://)?ror\.org/)?(0[a-z0-9]{6}\d{2})", re.ASCII)
_SCHEMES = re.compile(r"https?(?:www)?(?:orcidorg|isniorg|rororg|dnbinfo(?:gnd)?)")
"""Addresses of those schemes, as `plain` gives them."""
_URL = re.compile(r"https?://[A-Za-z0-9.-]+\.[A-Za-z]{2,}(?::\d{1,5})?(?:[/?#][!-~]*)?")
LONGEST_NAME = 500
LONGEST_VERSION = 191


def date(value: Any) -> str | None:
    """A date as EDTF level 0 (`2026`, `2026-01`, `2026-01-02`, `1939/1945`); None when none can be seen in it.

    What else the value says (a time of day, a doubt, a day that no month has) is left out.
    """
    if not isinstance(value, str):
        value = str(value) if isinstance(value, int) else ""
    found, whole = _seen(value.strip())
    if found is None:
        left(value, "It is not a date.")
    elif whole:
        return made(found, value)
    else:
        left(value, f"As a date the record has {found}.")
    return found


def _seen(written: str) -> tuple[str | None, bool]:
    """The date in a text, and whether it says all of it."""
    if "/" in written and not re.fullmatch(r"\d{4}/\d{1,2}(/\d{1,2})?", written):
        (first, first_whole), (last, last_whole) = (_seen(part.strip()) for part in written.split("/", 1))
        if first and last and first <= last:
            return f"{first}/{last}", first_whole and last_whole
        return first or last, False
    if match := _DATE.fullmatch(written):
        year, month, day = match.group(1, 2, 3)
        found = _checked(year, month, day)
        return found, match["more"] is None and found.count("-") == sum(part is not None for part in (month, day))
    if match := _DAY_MONTH.search(written):
        month = match[2].lower()
        if month in _MONTHS:
            return _checked(match[3], str(_MONTHS.index(month) + 1), match[1]), match[0] == written
    year_only = _ANY_YEAR.search(written)
    return (year_only[0], False) if year_only else (None, False)


def _checked(year: str, month: str | None, day: str | None) -> str:
    """As much of a date as is possible: a 31st of April becomes April."""
    if month is None or not 1 <= int(month) <= 12:
        return year
    if day is None or not 1 <= int(day) <= _DAYS[int(month) - 1]:
        return f"{year}-{int(month):02d}"
    leap = int(year) % 4 == 0 and (int(year) % 100 != 0 or int(year) % 400 == 0)
    if int(month) == 2 and int(day) == 29 and not leap:
        return f"{year}-02"
    return f"{year}-{int(month):02d}-{int(day):02d}"


def person(
    name: Any, *, family: Any = None, given: Any = None, organisation: bool | None = None, kind: Any = None
) -> dict[str, Any]:
    """A `person_or_org`. Without a comma it is an organisation, unless the Source says that it is a person.

    `kind` is the Source's word for that, `family` and `given` are the parts of the name where it tells them.
    """
    kind = None if organisation is None else kind
    if text(family) and not organisation:
        return _by_parts(name, family, given, kind)
    whole = made(" ".join(name.split()), name)
    surname, comma, rest = whole.partition(",")
    if organisation or (organisation is None and not comma) or not surname.strip():
        return {"type": made("organizational", kind if organisation else None), "name": cut(whole, LONGEST_NAME)}
    if not comma:
        rest, _, surname = whole.rpartition(" ")
    parts = {"family_name": surname.strip(), "given_name": rest.strip()}
    found = {key: cut(made(part, name), LONGEST_NAME) for key, part in parts.items() if part}
    return {"type": made("personal", kind), **found}


def _by_parts(name: Any, family: Any, given: Any, kind: Any) -> dict[str, Any]:
    says_the_same = isinstance(name, str) and plain(name) in (
        plain(family + (text(given) or "")), plain((text(given) or "") + family)
    )  # fmt: skip
    surname = made(family, family, name if says_the_same else None)
    found: dict[str, Any] = {"type": made("personal", kind), "family_name": cut(surname, LONGEST_NAME)}
    if text(given):
        found["given_name"] = cut(given, LONGEST_NAME)
    return found


def orcid_of(value: Any) -> str | None:
    """An ORCID iD of an assigned block whose check digit is right (ISO 7064 11-2); InvenioRDM refuses others."""
    match = _ORCID.search(value) if isinstance(value, str) else None
    if match is None:
        return None
    number = int(match[1].replace("-", "")[:-1])
    assigned = any(first <= number <= last for first, last in _ORCID_RANGES)
    return match[1] if assigned and _checks(match[1]) else None


def _checks(number: str) -> bool:
    """Whether the check digit of an ISNI, and so of an ORCID iD, is right (ISO 7064 11-2)."""
    digits, total = number.replace("-", "").replace(" ", ""), 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    check = (12 - total % 11) % 11
    return digits[-1] == ("X" if check == 10 else str(check))


def name_identifier(value: Any, scheme: Any = None, address: Any = None) -> dict[str, str] | None:
    """An identifier of a person or organisation, of the schemes that InvenioRDM knows: ORCID, ISNI, GND, ROR.

    `address` is that of the scheme. One that cannot be valid would have the record refused, and is left out.
    """
    if not isinstance(value, str):
        return None
    known = plain(text(scheme) or text(address) or value)
    for name, form in (("orcid", _ORCID), ("isni", _ISNI), ("gnd", _GND), ("ror", _ROR)):
        if name not in known and not (name == "gnd" and "dnbinfo" in known):
            continue
        match = form.search(value) if name == "orcid" else form.fullmatch(value)
        if match is None or (name == "orcid" and orcid_of(value) is None) or (name == "isni" and not _checks(match[1])):
            left((value, scheme, address), f"It is no valid {name.upper()}.")
            return None
        bare = match[1] if name != "isni" else re.sub("[- ]", "", match[1])
        same = address if _SCHEMES.fullmatch(plain(text(address) or "")) else None
        return {"scheme": made(name, scheme, same), "identifier": made(bare, value)}
    left((value, scheme, address), "A record identifies people and organisations by ORCID, ISNI, GND and ROR alone.")
    return None


def creator(
    name: Any,
    *,
    family: Any = None,
    given: Any = None,
    organisation: bool | None = None,
    kind: Any = None,
    identifiers: Iterable[dict[str, str] | None] = (),
    affiliations: Iterable[Any] = (),
    role: Any = None,
) -> dict[str, Any] | None:
    """An entry of `creators`; None without a name. `affiliations` are names, `role` is a word for one.

    Of each scheme the first identifier counts, and each affiliation once.
    """
    if not text(name) and (organisation or not text(family)):
        return None
    who = person(name, family=family, given=given, organisation=organisation, kind=kind)
    known: dict[str, dict[str, str]] = {}
    for entry in filter(None, identifiers):
        kept = known.setdefault(entry["scheme"], entry)
        if kept is not entry and kept == entry:
            joined(kept, entry)
    if known:
        who["identifiers"] = list(known.values())
    found: dict[str, Any] = {"person_or_org": who}
    places: dict[str, str] = {}
    for place in filter(None, map(text, affiliations)):
        short = cut(place, LONGEST_NAME)
        if places.setdefault(short, short) is not short:
            joined(places[short], short)
    if places:
        found["affiliations"] = [{"name": place} for place in places.values()]
    if text(role):
        found["role"] = _role(role)
    return found


def contributor(entry: dict[str, Any] | None, role: Any) -> dict[str, Any] | None:
    """An entry of `contributors`: a creator with a role of the vocabulary."""
    return None if entry is None else {**entry, "role": _role(role)}


def _role(value: Any) -> dict[str, str]:
    known = re.sub(r"[\W_]", "", text(value) or "").lower()
    if known in ROLES:
        return {"id": made(known, value)}
    left(value, "No such role is known everywhere; it became other.")
    return {"id": "other"}


def doi(value: Any) -> str | None:
    """A DOI without its resolver."""
    match = _DOI.search(unquote(value)) if isinstance(value, str) else None
    return match[0].rstrip(".,;") if match else None


def identifier(value: Any, scheme: Any = None) -> dict[str, str] | None:
    """An identifier with the scheme that its form shows; `other` for any other text."""
    written = text(value)
    if written is None:
        return None
    told = (text(scheme) or "").lower()
    if told in ("", "doi") and (found := doi(written)):
        before, _, after = plain(unquote(written)).partition(plain(found))
        if before in _RESOLVERS and not after:
            return _identified("doi", made(found, value), scheme)
        if told:
            left(value, f"The record has the DOI in it, {found}.")
            return _identified("doi", found, scheme)
    if written.startswith(("http://", "https://")):
        return _identified("url", written, scheme)
    if re.fullmatch(r"urn:[a-z0-9][a-z0-9-]{1,31}:\S+", written, re.IGNORECASE):
        return _identified("urn", written, scheme)
    return _identified("other", cut(written, LONGEST_NAME), scheme)


def _identified(scheme: str, value: str, told: Any) -> dict[str, str]:
    said = (text(told) or "").lower() == scheme
    return {"scheme": made(scheme, told) if said else scheme, "identifier": value}


def related(value: Any, relation: Any, scheme: Any = None, kind: Any = None) -> dict[str, Any] | None:
    """An entry of `related_identifiers`; an unknown relation becomes `references`."""
    found: dict[str, Any] | None = identifier(value, scheme)
    if found is None:
        return None
    known = plain(text(relation) or "")
    if known in RELATIONS:
        found["relation_type"] = {"id": made(known, relation)}
    else:
        left(relation, "No such relation is known everywhere; it became references.")
        found["relation_type"] = {"id": "references"}
    if (what := resource_type(kind)) is not None:
        found["resource_type"] = what
    return found


def licence(title: Any, url: Any = None, code: Any = None, note: Any = None) -> dict[str, Any] | None:
    """An entry of `rights` as free text: a licence that the instance's vocabulary lacks would be refused."""
    name, link, short = text(title), text(url), text(code)
    if name is None or (short and plain(name) == plain(short)):
        name, short = (made(short, title, short) if short else None), None
    if link is None and name and _URL.fullmatch(name):
        link = name
    if name is None and link is None:
        return None
    entry: dict[str, Any] = {"title": {"en": cut(name or link or "", 1000)}}
    if said := [each for each in (short, text(note)) if each]:
        entry["description"] = {"en": made(": ".join(said), said)}
    if link and _URL.fullmatch(link):
        entry["link"] = link
    return entry


def language(value: Any) -> dict[str, str] | None:
    """A language by its code of three letters."""
    told = (text(value) or "").lower()
    code, _, region = told.replace("_", "-").partition("-")
    known = LANGUAGES.get(code, code)
    if re.fullmatch(r"[a-z]{3}", known) is None:
        left(value, "It is no code of a language.")
        return None
    if region:
        left(value, f"As a language the record has {known}.")
        return {"id": known}
    return {"id": made(known, value)}


def resource_type(*values: Any) -> dict[str, str] | None:
    """The first value that is a resource type of the vocabulary, or is called like one.

    Further values that only say the same, or less, are said by it too.
    """
    found: str | None = None
    said = []
    for value in values:
        known = _type(text(value) or "")
        if known is None:
            left(value, "No such resource type is known everywhere.")
            continue
        found = found or known
        nearly = re.sub(r"[\s_]", "", value).lower() in NEARLY
        if (found == known or found.startswith(f"{known}-")) and not nearly:
            said.append(value)
        else:
            left(value, f"As a resource type the record has {found}.")
    return {"id": made(found, *said)} if found else None


def _type(value: str) -> str | None:
    word = value.lower()
    for name in (word, re.sub(r"[\s_]", "", word), word.replace("/", "-")):
        if name in RESOURCE_TYPES:
            return name
        if name in CALLED:
            return CALLED[name]
    return None


def subject(value: Any) -> dict[str, str] | None:
    """An entry of `subjects` as free text."""
    word = text(value)
    return {"subject": cut(word, LONGEST_NAME)} if word else None


def version(value: Any) -> str | None:
    """A version, as far as a record holds it."""
    told = text(value)
    return cut(told, LONGEST_VERSION) if told else None


def dated(value: Any, kind: Any, note: Any = None) -> dict[str, Any] | None:
    """An entry of `dates`; an unknown type becomes `other`."""
    written = date(value)
    if written is None:
        return None
    known = (text(kind) or "").lower()
    entry: dict[str, Any] = {"date": written, "type": {"id": made(known, kind) if known in DATE_TYPES else "other"}}
    if known not in DATE_TYPES:
        left(kind, "No such type of date is known everywhere; it became other.")
    if text(note):
        entry["description"] = text(note)
    return entry


def funding(funder: Any, number: Any = None, title: Any = None, address: Any = None) -> dict[str, Any] | None:
    """An entry of `funding` by the funder's name; None without one. `address` is that of the award."""
    name = text(funder)
    if name is None:
        return None
    found: dict[str, Any] = {"funder": {"name": name}}
    short, long = text(number), text(title)
    if short or long:
        award: dict[str, Any] = {"title": {"en": long or short}, "number": short or long}
        if (link := text(address)) and _URL.fullmatch(link):
            award["identifiers"] = [{"scheme": "url", "identifier": link}]
        found["award"] = award
    return found


def one_text(value: Any, *more: str) -> str | None:
    """A text that may be told by language (`{"en": ...}`): in English, or else in the first language."""
    told = mapping(value)
    return text(value) or next((found for name in ("en", "eng", *more, *told) if (found := text(told.get(name)))), None)
