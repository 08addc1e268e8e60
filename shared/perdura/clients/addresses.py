"""Addresses that strangers write: what is no URL passes through here unchanged, and the guard of `reach` refuses it."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from urllib.parse import unquote, urljoin, urlsplit

_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_PORTS = {"http": 80, "https": 443}


def host_name(host: str) -> str:
    """A host as it is asked for: a name in lower-case ASCII (RFC 3490) or an IPv6 address; raises ValueError."""
    if ":" in host:
        return str(IPv6Address(host))
    name = host.encode("idna").decode("ascii").lower()
    if not _HOST.fullmatch(name):
        raise ValueError("no host")
    return name


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an http(s) URL; raises ValueError when it is none that could be asked."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("no http or https URL")
    return parts.scheme, host_name(parts.hostname), parts.port or _PORTS[parts.scheme]


def mailbox(address: str) -> tuple[str, str]:
    """Name and host of a mail address as most of the world writes it (a dot-atom of RFC 5322); raises ValueError."""
    name, _, host = address.rpartition("@")
    if not _MAILBOX.fullmatch(name) or ":" in host:
        raise ValueError("no mail address")
    return name, host_name(host)


def joined(base: str, address: str) -> str:
    """The address as seen from `base`."""
    try:
        return urljoin(base, address)
    except ValueError:
        return address


def path_of(url: str) -> str:
    """The path of a URL, percent-encoding undone; empty when it is none."""
    try:
        return unquote(urlsplit(url).path)
    except ValueError:
        return ""


def host_of(url: str) -> str:
    """The host of a URL in lower case; empty when it has or is none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
