"""Addresses of our own resources; relative to the host, so that they hold behind any proxy."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

API = "/api/v1"


def archive(archive_id: UUID) -> str:
    """An Archive."""
    return f"{API}/archives/{archive_id}"


def archive_links(archive_id: UUID) -> dict[str, str]:
    """Everything that can be read of an Archive, and its page for people."""
    base = archive(archive_id)
    return {
        "self": base,
        "steps": f"{base}/steps",
        "events": f"{base}/events",
        "files": f"{base}/files",
        "html": f"/archives/{archive_id}",
    }


def package_content(archive_id: UUID, package_id: UUID) -> str:
    """The bytes of a package."""
    return f"{archive(archive_id)}/packages/{package_id}/content"


def file_content(archive_id: UUID, package_id: UUID, path: str) -> str:
    """The bytes of one file, read out of its package."""
    return f"{archive(archive_id)}/packages/{package_id}/files/{quote(path, safe='/')}"


def harvest(archive_id: UUID) -> str:
    """A harvest."""
    return f"{API}/harvests/{archive_id}"


def deposit(deposit_id: UUID) -> str:
    """A deposit."""
    return f"{API}/deposits/{deposit_id}"


def schedule_links(schedule_id: UUID) -> dict[str, str]:
    """A schedule and its runs."""
    return {"self": f"{API}/schedules/{schedule_id}", "runs": f"{API}/schedules/{schedule_id}/runs"}


def run_links(run_id: UUID, schedule_id: UUID) -> dict[str, str]:
    """A run, its records and its schedule."""
    base = f"{API}/runs/{run_id}"
    return {"self": base, "items": f"{base}/items", "schedule": f"{API}/schedules/{schedule_id}"}


def job(job_id: UUID) -> str:
    """A job."""
    return f"{API}/jobs/{job_id}"


def collection(collection_id: UUID) -> str:
    """A collection."""
    return f"{API}/collections/{collection_id}"


def pipeline(name: str) -> str:
    """A named pipeline."""
    return f"{API}/pipelines/{quote(name, safe='')}"
