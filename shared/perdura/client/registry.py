"""What a registry can be asked for, by name: a thin layer over its REST API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from perdura.client.errors import Refused, Unreachable
from perdura.client.http import Transport
from perdura.client.uploads import LARGE, Upload, send_parts, send_whole

Document = dict[str, Any]
FINAL = frozenset({"completed", "completed_with_warnings", "failed", "rejected", "blocked", "cancelled"})
"""States in which an Archive stays until somebody acts."""

PATIENCE = 60.0
"""Seconds for which a registry may not answer while it is waited for."""


def _nothing(count: int) -> None:
    """Told of bytes that were sent, and does nothing."""


class Client(Transport):
    """A registry. Every method raises Refused or Unreachable; ids are UUIDs as text.

    `url` is its address without `/api`, `token` a personal access token or one of the identity provider.
    """

    def archives(self, limit: int | None = None, **conditions: Any) -> Iterator[Document]:
        """Archives, the newest first; `conditions` are the filters of `GET /archives`."""
        return self.items("/archives", limit, **conditions)

    def archive(self, archive: str) -> Document:
        """One Archive: state, packages, copies, pipeline, and what may be asked of it now."""
        return self.get(f"/archives/{archive}")

    def steps(self, archive: str) -> list[Document]:
        """Every attempt of every step of an Archive, in order."""
        return list(self.items(f"/archives/{archive}/steps"))

    def events(self, archive: str, limit: int | None = None) -> Iterator[Document]:
        """The PREMIS events of an Archive, the oldest first."""
        return self.items(f"/archives/{archive}/events", limit)

    def files(self, archive: str, limit: int | None = None) -> Iterator[Document]:
        """The payload files of an Archive by path; `download(file["links"]["content"])` reads one."""
        return self.items(f"/archives/{archive}/files", limit)

    def deposit(
        self,
        upload: Upload,
        *,
        title: str | None = None,
        preserve: Mapping[str, str] | None = None,
        resume: str | None = None,
        begun: Callable[[Document], None] | None = None,
        noted: Callable[[int], None] = _nothing,
    ) -> str:
        """Hand in a package; gives back the Archive's id. A file that was accepted before is not sent again.

        `resume` is the id of a deposit whose sending broke off; `begun` is told of the deposit before anything is sent,
        `noted` of bytes that have arrived. Raises ValueError when something else is resumed than was begun.
        """
        answer = self._resumed(resume, upload) if resume else self._announced(upload, title, preserve)
        if begun is not None:
            begun(answer)
        if answer.get("existing"):
            return str(answer["archive"])
        if answer.get("upload") is None:
            send_parts(self, f"/deposits/{answer['id']}/parts", upload, noted)
        else:
            send_whole(self, answer["upload"], upload, noted)
        self.post(f"/deposits/{answer['id']}/complete")
        return str(answer["archive"])

    def _announced(self, upload: Upload, title: str | None, preserve: Mapping[str, str] | None) -> Document:
        request: Document = {"filename": upload.filename, "size": upload.size}
        request |= {"sha256": upload.sha256} if upload.sha256 else {}
        request |= {"title": title} if title else {}
        request |= {"preserve": dict(preserve)} if preserve else {}
        request |= {"parts": True} if upload.size > LARGE else {}
        return self.post("/deposits", request)

    def _resumed(self, deposit: str, upload: Upload) -> Document:
        found = self.get(f"/deposits/{deposit}")
        announced = (found["filename"], found["size"])
        if announced != (upload.filename, upload.size) or (found["sha256"] or upload.sha256) != upload.sha256:
            raise ValueError(f"this is not what the deposit was begun with: {announced[0]}, {announced[1]} bytes")
        return {"id": found["id"], "archive": found["archive"], "upload": None}

    def announce(self, bucket: str, prefix: str, collection: str | None = None) -> Document:
        """Have every package below a prefix of a bucket ingested where it lies; gives back the job."""
        more = {"collection": collection} if collection else {}
        return self.post("/announcements", {"bucket": bucket, "prefix": prefix, **more})

    def resolve(self, url: str) -> Document:
        """What an address, DOI or identifier names, and what a harvest would fetch."""
        return self.post("/harvests/resolve", {"url": url})

    def harvest(self, record: str, *, light: bool = False, **how: Any) -> str:
        """Fetch a record with all its files and preserve it; gives back the Archive's id."""
        wanted = {"url": record, **how}
        return str(self.post("/harvests?light=true" if light else "/harvests", wanted)["archive"])

    def retry(self, archive: str) -> Document:
        """Try the failed or blocked step again."""
        return self.post(f"/archives/{archive}/retry")

    def skip(self, archive: str) -> Document:
        """Go on without the failed or blocked step."""
        return self.post(f"/archives/{archive}/skip")

    def cancel(self, archive: str, step: str | None = None) -> Document:
        """Stop an Archive where it is, or a `step` beside its pipeline: a recall or a check."""
        return self.post(f"/archives/{archive}/steps/{step}/cancel" if step else f"/archives/{archive}/cancel")

    def run(self, archive: str, steps: Sequence[str]) -> Document:
        """Run more steps behind the finished pipeline."""
        return self.post(f"/archives/{archive}/run", {"steps": list(steps)})

    def recall(
        self, archive: str, *, package: str | None = None, file: str | None = None, drill: bool = False
    ) -> Document:
        """Bring the AIP, or one file of it, back from tape; a drill proves that it can be done and keeps nothing.

        `package` is the id of a version of the AIP; without it, that in use.
        """
        told = {"package": package, "file": file}
        wanted = {name: value for name, value in told.items() if value is not None}
        return self.post(f"/archives/{archive}/recalls", {"drill": drill, **wanted})

    def archive_again(self, archive: str, *, package: str | None = None) -> Document:
        """Have the copy on tape made again that was found lost or damaged, at a new place.

        `package` is the id of a version of the AIP; without it, that in use.
        """
        return self.post(f"/archives/{archive}/copies", {"package": package} if package else {})

    def check(self, archive: str, *, package: str | None = None, copies: Sequence[str] = ()) -> list[Document]:
        """Have copies of the AIP read again and compared: all, or those at `object-store` or `tape`.

        Gives back the step, package and location of each.
        """
        wanted = {"copies": list(copies), **({"package": package} if package else {})}
        return list(self.post(f"/archives/{archive}/checks", wanted)["items"])

    def wait(self, archive: str, timeout: float | None = None, every: float = 2.0) -> Document:
        """Wait until an Archive is done, looking `every` so many seconds. Raises TimeoutError after `timeout` of them.

        A registry that is silent for less than a minute is waited for.
        """
        end = None if timeout is None else time.monotonic() + timeout
        answered = time.monotonic()
        while True:
            try:
                found = self.archive(archive)
                answered = time.monotonic()
                if found["state"] in FINAL:
                    return found
            except (Refused, Unreachable) as error:
                passing = isinstance(error, Unreachable) or error.status >= 500
                if not passing or time.monotonic() - answered > PATIENCE:
                    raise
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"archive {archive} is not done after {timeout} s")
            time.sleep(every)

    def collections(self, limit: int | None = None) -> Iterator[Document]:
        """Collections by name."""
        return self.items("/collections", limit)

    def create_collection(self, name: str, *, description: str = "", restricted: bool = False) -> Document:
        """Make a collection; a restricted one is seen by those to whom it is granted."""
        return self.post("/collections", {"name": name, "description": description, "restricted": restricted})

    def add_to_collection(self, collection: str, archives: Sequence[str]) -> int:
        """Put Archives into a collection; gives back how many were not in it yet."""
        return int(self.post(f"/collections/{collection}/members", {"archives": list(archives)})["changed"])

    def collection_summary(self, collection: str) -> Document:
        """A collection in numbers."""
        return self.get(f"/collections/{collection}/summary")

    def plan_job(self, wanted: Mapping[str, Any]) -> Document:
        """What a job (`act`, `filter` or `archives`, …) would change and what it would leave alone."""
        return self.post("/jobs/plan", wanted)

    def begin_job(self, wanted: Mapping[str, Any]) -> Document:
        """Do one act on all Archives of a filter or list, in the background."""
        return self.post("/jobs", wanted)

    def job(self, job: str) -> Document:
        """How far a job is."""
        return self.get(f"/jobs/{job}")

    def jobs(self, limit: int | None = None) -> Iterator[Document]:
        """Jobs, the newest first."""
        return self.items("/jobs", limit)

    def schedules(self, limit: int | None = None) -> Iterator[Document]:
        """Recurring harvests."""
        return self.items("/schedules", limit)

    def statistics(self, days: int = 90) -> Document:
        """What is held and was done in that many days."""
        return self.get("/statistics", days=days)
