"""The adapter of `perdura.fleet.Archivematica`: one dashboard and its Storage Service as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from uuid import UUID

import httpx

from perdura.clients.archivematica.dashboard import Dashboard
from perdura.clients.archivematica.exchange import Exchange
from perdura.clients.archivematica.instances import Instance
from perdura.clients.archivematica.storage_service import StorageService
from perdura.fleet import FailedJob, Probe, Stage, Start, Stored, Terms, Unit


class ConnectedArchivematica:
    """One instance over HTTP. Safe to use from several threads."""

    def __init__(self, instance: Instance, *, transport: httpx.BaseTransport | None = None) -> None:
        self._terms = Terms(
            name=instance.name,
            packages=instance.packages,
            bytes=instance.bytes,
            configuration=instance.configuration,
            source_location=instance.source_location,
            source_bucket=instance.source_bucket,
            source_prefix=instance.source_prefix,
            source_directory=str(instance.source_directory) if instance.source_directory else None,
            aip_bucket=instance.aip_bucket,
            aips_stay=instance.aip_place == "stay",
            link=instance.dashboard_url.rstrip("/"),
        )
        self._dashboard = Dashboard(
            Exchange(
                instance.dashboard_url,
                instance.dashboard_user,
                instance.dashboard_key,
                ca=instance.ca,
                transport=transport,
            )
        )
        self._storage = StorageService(
            Exchange(
                instance.storage_url, instance.storage_user, instance.storage_key, ca=instance.ca, transport=transport
            )
        )

    @property
    def terms(self) -> Terms:
        """How this one is used."""
        return self._terms

    def probe(self) -> Probe:
        """Version and identity; also proves the key."""
        return self._dashboard.probe()

    def start(self, start: Start, key: str) -> UUID:
        """Start a transfer under an idempotency key; raises NotSent, Ambiguous besides."""
        return self._dashboard.start(start, key)

    def status(self, stage: Stage, unit: UUID) -> Unit:
        """State of a unit."""
        return self._dashboard.status(stage, unit)

    def failed_jobs(self, unit: UUID) -> tuple[FailedJob, ...]:
        """Jobs that failed, with their failed tasks."""
        return self._dashboard.failed_jobs(unit)

    def failed_tasks(self, unit: UUID, job: str, most: int) -> tuple[tuple[str, ...], int]:
        """Files whose task in the jobs of that name failed, at most so many, and how many they are in all."""
        return self._dashboard.failed_tasks(unit, job, most)

    def waiting(self) -> Mapping[str, tuple[UUID, str]]:
        """Units that wait for a person: name → (id, question)."""
        return self._dashboard.waiting()

    def configurations(self) -> Sequence[str]:
        """Names of the processing configurations."""
        return self._dashboard.configurations()

    def choices(self, configuration: str) -> Mapping[str, str]:
        """What a processing configuration decides: id of the question → id of the choice."""
        return self._dashboard.choices(configuration)

    def hide(self, stage: Stage, unit: UUID) -> None:
        """Take a finished unit out of the dashboard's lists."""
        self._dashboard.hide(stage, unit)

    def source_holds(self, folder: str, entry: str) -> bool:
        """Whether the transfer source shows that entry of a folder."""
        return self._storage.holds(self._terms.source_location, folder, entry)

    def package(self, package: UUID) -> Stored | None:
        """The record of a stored package."""
        return self._storage.package(package)

    def stored_as(self, name: str, since: datetime) -> tuple[Stored, ...]:
        """AIPs stored since then that were made of the transfer of exactly that name."""
        return self._storage.stored_as(name, since)

    def pointer(self, package: UUID) -> bytes | None:
        """The pointer file of a compressed AIP."""
        return self._storage.pointer(package)

    def download(self, package: UUID, near: Callable[[], bool]) -> AbstractContextManager[Iterator[bytes]]:
        """The package as a stream; raises TimeUp when `near` says that time is up."""
        return self._storage.download(package, near)

    def extract(self, package: UUID, path: str, near: Callable[[], bool]) -> AbstractContextManager[Iterator[bytes]]:
        """One file of a package as a stream; raises TimeUp when `near` says that time is up."""
        return self._storage.extract(package, path, near)
