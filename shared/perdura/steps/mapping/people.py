"""People and organisations in the form that InvenioRDM takes: names, roles, identifiers (inveniordm.md 1.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from perdura.steps.mapping.model import plain, text
from perdura.steps.mapping.told import cut, joined, left, made
from perdura.steps.mapping.vocabularies import ROLES

LONGEST_NAME = 500

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
