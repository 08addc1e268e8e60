"""Where people who follow a link find an Archive: its page for readers, where it has one, else that of the registry."""

from __future__ import annotations

from perdura.clients.destinations import ACCESS_PAGES, access_configuration
from perdura.outcome import ArchiveView
from perdura.ports import Ports
from perdura.settings import Settings


def access_page(archive: ArchiveView, ports: Ports) -> str | None:
    """The address of the Archive on the access pages; None when it is not meant to be published there."""
    if archive.restricted:
        return None
    collections = ports.placements.collections(archive.id) if ports.placements else ()
    meant = access_configuration(ports.settings.access).destinations(archive.source, collections)
    if not any(destination.id == ACCESS_PAGES for destination in meant):
        return None
    return address(archive, ports.settings)


def address(archive: ArchiveView, settings: Settings) -> str:
    """Where the access pages have an Archive that is published there."""
    return f"{settings.access_url.rstrip('/')}/archives/{archive.id}"


def registry_page(archive: ArchiveView, settings: Settings) -> str:
    """The address for those who may use the registry."""
    return f"{settings.base_url.rstrip('/')}/archives/{archive.id}"


def page(archive: ArchiveView, ports: Ports) -> str:
    """That for readers, where there is one, else that of the registry."""
    return access_page(archive, ports) or registry_page(archive, ports.settings)
