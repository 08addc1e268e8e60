"""What tests of publishing share: a server, orders for it, and connections that die."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from perdura.clients.inveniordm.files import Files
from perdura.clients.inveniordm.model import Record
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import Wire
from perdura.ids import new_id
from perdura.steps.publish_found import Sought, look
from perdura.steps.publish_record import Done, Order, Publisher
from perdura.steps.publish_wanted import Sending, Wanted
from tests.contract.test_inveniordm import communities
from tests.contract.test_inveniordm.fake import Fake

FILES = {"report ü.pdf": b"%PDF-1.7 once upon a time", "data/table 1.csv": b"a,b\n1,2\n" * 1000}


class Died(BaseException):
    """The worker was killed: nothing in it may catch this."""


@dataclass
class Mortal(httpx.BaseTransport):
    """Passes requests on and dies when the answer to the `after`-th one is there; `lose` loses that answer instead."""

    inner: httpx.BaseTransport
    after: int | None = None
    lose: bool = False
    count: int = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.inner.handle_request(request)
        self.count += 1
        if self.after is not None and self.count == self.after:
            answer.read()
            if self.lose:
                raise httpx.ReadTimeout("the answer is lost")
            raise Died
        return answer


@dataclass
class Package:
    """One version of a Resource to be published, and what the registry would have noted of it."""

    resource: str = field(default_factory=lambda: f"oais:cds:{new_id()}")
    package: str = field(default_factory=lambda: f"urn:uuid:{new_id()}")
    files: Mapping[str, bytes] = field(default_factory=lambda: dict(FILES))
    known: str | None = None
    request: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    sending: Sending = field(default_factory=lambda: Sending(wait=lambda seconds: None))
    options: Mapping[str, Any] = field(default_factory=dict)

    def next(self, **values: Any) -> Package:
        """Another package of the same Resource."""
        return Package(resource=self.resource, **values)

    def order(self) -> Order:
        """The order for it."""
        metadata = {
            "resource_type": {"id": "dataset"},
            "title": "A preserved package",
            "publication_date": "2026-01-01",
            "publisher": "Archive",
            "creators": [{"person_or_org": {"type": "organizational", "name": "Archive"}}],
            "identifiers": [
                {"scheme": "urn", "identifier": self.package},
                {"scheme": "other", "identifier": self.resource},
            ],
            **self.metadata,
        }
        body = {
            "access": {"record": "public", "files": "public"},
            "files": {"enabled": bool(self.files)},
            "metadata": metadata,
            **self.more,
        }
        wanted = [file_of(key, data) for key, data in self.files.items()]
        return Order(Sought(self.package, self.resource), body, wanted, self.sending, **self.options)

    def note(self, record: Record, request: str | None) -> None:
        """What the registry does at once."""
        self.known, self.request = record.id, request


def file_of(key: str, data: bytes) -> Wanted:
    """A file whose bytes are in memory."""

    def read(offset: int, length: int) -> Iterator[memoryview]:
        whole = memoryview(data)[offset : offset + length]
        for begin in range(0, len(whole), 1 << 20):
            yield whole[begin : begin + (1 << 20)]

    return Wanted(key, len(data), hashlib.sha256(data).hexdigest(), read, details={"origin": "test"})


@dataclass
class Target:
    """A server: its address, the tokens of its users, and how it is reached."""

    url: str
    tokens: Mapping[str, str]
    transport: Callable[[], httpx.BaseTransport]
    server: Fake | None = None
    """The fake, when it is no real one."""

    def wire(self, user: str = "publisher", *, token: str | None = None, **mortal: Any) -> Wire:
        """A connection as a user; `after` and `lose` make it a mortal one."""
        inner = Mortal(self.transport(), **mortal)
        return Wire(
            self.url,
            self.tokens[user] if token is None else token,
            transport=inner,
            sleep=lambda seconds: None,
        )

    def publish(self, package: Package, *, wire: Wire | None = None, remember: bool = True) -> Done:
        """Publish a package as a worker does; `remember` False is a registry that noted nothing."""
        with wire or self.wire() as connection:
            order = package.order()
            known, request = (package.known, package.request) if remember else (None, None)
            found = look(Records(connection), order.sought, known)
            return Publisher(connection, order, package.note, lambda: None).publish(found, known, request)

    def published(self, resource: str) -> list[Record]:
        """All published records of a Resource, by version."""
        with self.wire() as wire:
            hits = Records(wire).find(f'metadata.identifiers.identifier:"{resource}"')
        return sorted((hit for hit in hits if hit.published), key=lambda hit: hit.index)

    def drafts(self, resource: str) -> list[Record]:
        """All drafts of a Resource that were never published."""
        with self.wire() as wire:
            hits = Records(wire).find(f'metadata.identifiers.identifier:"{resource}"')
        return [hit for hit in hits if not hit.published]

    def community(self) -> str:
        """The name of a community whose curator is `admin`, and that reviews what comes."""
        return self.community_of("admin", reviewed=True)[0]

    def community_of(self, curator: str, *, reviewed: bool) -> tuple[str, str]:
        """Name and id of a new community; where nothing is reviewed its curators include records at once."""
        slug = f"archive-{new_id()}"
        access = {
            "visibility": "public", "member_policy": "open", "record_submission_policy": "open",
            "review_policy": "closed" if reviewed else "open",
        }  # fmt: skip
        body = {"slug": slug, "metadata": {"title": "Archive"}, "access": access}
        with self.wire(curator) as wire:
            made = wire.json("POST", "/api/communities", body=body)
        return slug, made["id"]

    def decide(self, request: str, decision: str) -> None:
        """What a curator does: `accept` or `decline`."""
        if self.server is not None:
            communities.decide(self.server, request, decision)
            return
        with self.wire("admin") as wire:
            wire.json("POST", f"/api/requests/{request}/actions/{decision}", body={})

    def digests(self, record: str) -> dict[str, str | None]:
        """MD5 of each file of a published record, as the server tells it."""
        with self.wire() as wire:
            return {entry.key: entry.md5 for entry in Files(wire).list(record, draft=False)}


def md5s(files: Mapping[str, bytes]) -> dict[str, str]:
    """MD5 of each file."""
    return {key: hashlib.md5(data).hexdigest() for key, data in files.items()}
