"""Where outgoing requests may go: the guard against server-side request forgery.

A name is resolved once, every address it has is judged, and the connection is made to an address that was judged,
so that a second resolution cannot point elsewhere (harvesting.md 6.6). TLS still checks the name.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from perdura.clients.addresses import origin_of
from perdura.errors import Rejected, UpstreamUnavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str, int], list[str]]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_NOT_PUBLIC = tuple(map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
"""Protocol assignments (RFC 6890; one cloud has its metadata there), 6to4 relays (RFC 7526), and the address at which a
cloud's machines reach their host, though it looks like any other."""


LOOK_UP_SECONDS = 10.0
"""How long the system's resolver is waited for; by itself it may try its servers for more than half a minute."""

_UNANSWERED = threading.BoundedSemaphore(64)
"""Questions to the resolver that are under way: one that nobody waits for any more still holds a thread."""


class DestinationRefused(Rejected):
    """The request would leave the allow-list, or reach an address that is not public."""

    code = "destination-refused"


@dataclass(frozen=True, slots=True)
class Reach:
    """What one client may contact.

    `hosts` are names in lower case; `*.example.org` stands for every name below `example.org`. `allow_loopback`
    lets listed hosts be loopback addresses (the demo's repository). `allow_private` is for services that the
    operator configured, never for an address that a user gave.
    """

    hosts: frozenset[str]
    allow_loopback: bool = False
    allow_private: bool = False

    def accepts(self, address: Address) -> bool:
        """Whether a connection to this address may be opened."""
        return is_public(address) or self.allow_private or (self.allow_loopback and _is_loopback(address))

    def permits(self, host: str) -> bool:
        """Whether the allow-list names this host."""
        host = host.lower().rstrip(".")
        parents = host.split(".")
        return host in self.hosts or any(
            "*." + ".".join(parents[depth:]) in self.hosts for depth in range(1, len(parents))
        )

    def check(self, url: str) -> None:
        """Raise DestinationRefused unless this is an http(s) URL without user information to a listed host."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            if parts.scheme not in ("http", "https") or not host:
                raise DestinationRefused("Only http and https addresses are followed.")
            origin_of(url)
        except ValueError as error:
            raise DestinationRefused("The address is not a valid URL.") from error
        if parts.username is not None or parts.password is not None:
            raise DestinationRefused(f"An address of {host} carries a user name or password.")
        if not self.permits(host):
            raise DestinationRefused(f"{host} is not among the hosts of this source.")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public Internet; addresses that wrap an IPv4 one are judged by it."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local or address in _NAT64_LOCAL or int(address) < 2**32:
            return False
    elif any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def look_up(host: str, port: int) -> list[str]:
    """All addresses of a host, as the system's resolver gives them in time.

    Raises TimeoutError, or whatever the resolver raises (an OSError, or a UnicodeError for what is no name).
    """
    found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put(list(dict.fromkeys(str(entry[4][0]) for entry in entries)))
        except Exception as error:
            found.put(error)
        finally:
            _UNANSWERED.release()

    end = time.monotonic() + LOOK_UP_SECONDS
    if not _UNANSWERED.acquire(timeout=LOOK_UP_SECONDS):
        raise TimeoutError("too many names are being looked up")
    threading.Thread(target=ask, name="look-up", daemon=True).start()
    try:
        answer = found.get(timeout=max(0.0, end - time.monotonic()))
    except queue.Empty:
        raise TimeoutError(f"the name was looked up for {LOOK_UP_SECONDS:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def judged_addresses(host: str, port: int, reach: Reach, lookup: Lookup = look_up) -> list[Address]:
    """The addresses of a host, every one of them judged.

    One refused address refuses the host: a name that has public and private addresses at once is an attack or a
    mistake. Raises DestinationRefused; UpstreamUnavailable when the name cannot be resolved.
    """
    if not reach.permits(host):
        raise DestinationRefused(f"{host} is not among the hosts of this source.")
    try:
        texts = lookup(host, port)
    except (OSError, UnicodeError) as error:
        raise UpstreamUnavailable(f"The name {host} could not be resolved.") from error
    addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in texts]
    for address in addresses:
        if not reach.accepts(address):
            raise DestinationRefused(f"{host} has an address that is not public.")
    if not addresses:
        raise UpstreamUnavailable(f"The name {host} has no address.")
    return addresses


def _is_loopback(address: Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
