"""Which source a pasted address, DOI or identifier belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from perdura.clients.addresses import host_of
from perdura.errors import Rejected
from perdura.settings import Settings
from perdura.sources.profile import Profile, profiles

_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(?P<doi>10\.\d{4,9}/[^\s\"<>]{1,200})", re.IGNORECASE)
_WITHOUT_BASE = frozenset({"folder", "prefix", "signposting"})
_NAMED = re.compile(r"(?P<source>[a-z0-9][a-z0-9.-]{0,49}):(?P<recid>[^\s/:][^\s]{0,199})")


class UnknownSource(Rejected):
    """No configured source recognises the address or identifier."""

    code = "unknown-source"


@dataclass(frozen=True, slots=True)
class Recognised:
    """One record of one source. `url` is what was given, or the record's address when only the id was."""

    profile: Profile
    recid: str
    base_url: str
    url: str

    @property
    def source(self) -> str:
        """Id of the source."""
        return self.profile.id


def recognise(text: str, settings: Settings) -> Recognised:
    """The record that a URL, a DOI, an OAI identifier or `source:recid` names; nothing is requested.

    Raises UnknownSource with what was understood, for the user.
    """
    text = text.strip()
    if not text or len(text) > 2000 or any(ord(char) < 32 for char in text):
        raise UnknownSource("Give the address, DOI or identifier of one record.")
    if match := _DOI.fullmatch(text):
        return _by_doi(match["doi"], settings)
    if text.startswith("file:///"):
        return by_id("local", unquote(text.removeprefix("file://")), settings)
    if text.startswith("s3://"):
        return by_id("prefix", text, settings)
    if "://" in text:
        return _by_url(text, settings)
    for profile in profiles(settings).values():
        if profile.oai_prefix and text.startswith(profile.oai_prefix):
            return by_id(profile.id, text.removeprefix(profile.oai_prefix), settings)
    if match := _NAMED.fullmatch(text):
        return by_id(match["source"], match["recid"], settings)
    raise UnknownSource(f"“{text[:80]}” is not the address, DOI or identifier of a record of a known source.")


def by_id(source: str, recid: str, settings: Settings, *, base_url: str | None = None) -> Recognised:
    """The record of that id in that source.

    Raises UnknownSource when there is no such source, or when its ids look different. `base_url` names the instance
    for sources that have none of their own (the demo's repository).
    """
    profile = profiles(settings).get(source)
    if profile is None:
        raise UnknownSource(f"There is no source “{source[:50]}”.")
    if not re.fullmatch(profile.recid, recid):
        raise UnknownSource(f"“{recid[:80]}” is not a record id of {profile.name}.")
    base = profile.base_url or (base_url or "")
    if not base and profile.protocol not in _WITHOUT_BASE:
        raise UnknownSource(f"{profile.name} needs the address of the record.")
    if base_url and profile.loopback and not loopback_allowed(base_url, settings):
        raise UnknownSource(f"{profile.name} is not available here.")
    return Recognised(profile, recid, base, f"{base}/records/{recid}" if base else recid)


def _by_doi(doi: str, settings: Settings) -> Recognised:
    known = profiles(settings)
    for profile in known.values():
        if profile.doi_prefix and doi.lower().startswith(profile.doi_prefix.lower()):
            return by_id(profile.id, doi[len(profile.doi_prefix) :], settings)
    for profile in known.values():
        if profile.protocol == "doi":
            return Recognised(profile, doi, profile.base_url, f"https://doi.org/{doi}")
    raise UnknownSource(f"The DOI {doi[:80]} belongs to no configured source.")


def _by_url(url: str, settings: Settings) -> Recognised:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise UnknownSource("The address is not a valid URL.") from error
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise UnknownSource("Only http and https addresses without a user name are harvested.")
    path = unquote(parts.path)
    # A source that names its address goes before the one for any port of this machine.
    for profile in sorted(profiles(settings).values(), key=lambda each: each.loopback):
        own = urlsplit(profile.base_url)
        if profile.loopback:
            matches = loopback_allowed(url, settings)
        else:
            matches = own.hostname == host and own.port == port
        if not matches:
            continue
        for pattern in profile.landing:
            if match := re.fullmatch(pattern, path):
                base = profile.base_url or f"{parts.scheme}://{parts.netloc}"
                return Recognised(profile, match["recid"], base, url)
    if settings.harvest_open:
        for profile in profiles(settings).values():
            if profile.protocol == "signposting":
                return Recognised(profile, url, f"{parts.scheme}://{parts.netloc}", url)
    raise UnknownSource(f"{host} is not a configured source, or {path[:80]} is not the address of a record there.")


def loopback_allowed(url: str, settings: Settings) -> bool:
    """Whether this is an address of this machine, and those may be harvested."""
    host = host_of(url)
    if not settings.allow_loopback_upstreams:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
