"""Single values in the form that InvenioRDM takes (inveniordm.md 1.2): identifiers, licences, languages, types."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from perdura.steps.mapping.model import mapping, plain, text
from perdura.steps.mapping.told import cut, left, made
from perdura.steps.mapping.vocabularies import CALLED, LANGUAGES, NEARLY, RELATIONS, RESOURCE_TYPES

_DOI = re.compile(r"10\.\d{4,9}/[!-~]+")
_RESOLVERS = frozenset(["", "doi", "httpsdoiorg", "httpdoiorg", "httpdxdoiorg", "httpsdxdoiorg"])
"""What may stand before a DOI that is the whole of a value, as `plain` gives it."""
_URL = re.compile(r"https?://[A-Za-z0-9.-]+\.[A-Za-z]{2,}(?::\d{1,5})?(?:[/?#][!-~]*)?")
LONGEST = 500
"""Characters of an identifier or a subject that a record holds."""
LONGEST_VERSION = 191


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
    return _identified("other", cut(written, LONGEST), scheme)


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
    return {"subject": cut(word, LONGEST)} if word else None


def version(value: Any) -> str | None:
    """A version, as far as a record holds it."""
    told = text(value)
    return cut(told, LONGEST_VERSION) if told else None


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
