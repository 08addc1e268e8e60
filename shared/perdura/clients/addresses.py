"""Addresses that strangers write: what is no URL passes through here unchanged, and the guard of `reach` refuses it."""

from __future__ import annotations

from urllib.parse import unquote, urljoin, urlsplit


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
