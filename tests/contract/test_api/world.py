"""A small installation for tests of the API and the pages: a real database, a store in memory, things in both."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import flask
from sqlalchemy import delete, event, func, insert, select
from sqlalchemy.dialects.postgresql import insert as insert_or_update
from sqlalchemy.engine import Engine
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Response

from perdura.accounts import tokens
from perdura.accounts.principals import Permission
from perdura.accounts.tables import Account, AuditEntry, Grant
from perdura.api import app
from perdura.api.queries import files, published
from perdura.clients.destinations import Choice, Destination
from perdura.cloudevents.message import CloudEvent
from perdura.ids import new_id
from perdura.outcome import Package as ArchiveAip
from perdura.outcome import PackageKind
from perdura.packages.aip_digests import MemberDigests
from perdura.packages.aip_index import Entry
from perdura.packages.aip_members import Member
from perdura.premis import log
from perdura.premis.model import Event, Identifier, Outcome
from perdura.registry import offers
from perdura.registry.access_tables import Placement
from perdura.registry.tables import (
    Archive,
    Collection,
    CollectionMember,
    Copy,
    Package,
    PackageFile,
    Publication,
    Resource,
    Step,
)
from perdura.settings import Settings
from perdura.steps import publish_pages
from perdura.storage.memory import MemoryStore
from perdura.web import access

NO_DIGESTS = MemberDigests(bytes(32), bytes(64), 1)
TOKEN = "the-administrators-token"
BASE = "http://registry.test"
PIPELINE = ["ingest", "preserve", "archive", "publish"]
FILES = {
    "data/objects/lies mich.txt": b"Hallo\n" * 100,
    "data/objects/a/empty": b"",
    "data/objects/page.html": b"<script>alert(1)</script>",
    "data/objects/image.png": bytes(range(256)) * 40,
}
MEDIA_TYPES = {"txt": "text/plain", "html": "text/html", "png": "image/png", "pdf": "application/pdf"}


class Emissions:
    """Notes which CloudEvents would be sent, once the response is closed."""

    def __init__(self) -> None:
        self.sent: list[CloudEvent] = []

    def after_response(self, response: Response, events: Sequence[CloudEvent]) -> Response:
        """Note the events when the response is closed."""
        response.call_on_close(lambda: self.sent.extend(events))
        return response


@dataclass(frozen=True)
class World:
    """Services for the functions, and makers of things to serve."""

    engine: Engine
    settings: Settings = field(
        default_factory=lambda: Settings(
            admin_token=TOKEN,
            base_url=BASE,
            access_url="http://access.test",
            s3_endpoint="http://store.test:8333",
            allow_loopback_upstreams=False,
            rate_limit=0,
            rate_limit_strangers=0,
        )
    )
    store: MemoryStore = field(default_factory=MemoryStore)
    emitter: Emissions = field(default_factory=Emissions)

    def registry(self) -> Client:
        """A browser or program that talks to the registry."""
        return _client(lambda request: app.respond(request, self))

    def reader(self) -> Client:
        """A reader of the access pages."""
        return _client(lambda request: access.respond(request, self))

    def account(self, *roles: str, groups: Sequence[str] = (), **values: Any) -> UUID:
        """An account with these roles."""
        account_id = new_id()
        row = {"kind": "person", "issuer": "https://id.test", "subject": str(account_id), "name": "Ada"}
        with self.engine.begin() as connection:
            connection.execute(
                insert(Account).values(id=account_id, roles=list(roles), groups=list(groups), **row | values)
            )
        return account_id

    def token(self, account_id: UUID, scopes: Sequence[Permission] = tuple(Permission), days: float = 1) -> str:
        """A personal access token of an account."""
        with self.engine.begin() as connection:
            expires = datetime.now(UTC) + timedelta(days=days)
            return tokens.issue(connection, account_id, name="of a test", scopes=scopes, expires_at=expires)[1]

    def bearer(self, *roles: str, scopes: Sequence[Permission] = tuple(Permission)) -> dict[str, str]:
        """The header of a new account with these roles."""
        return bearer(self.token(self.account(*roles), scopes))

    def grant(self, **values: Any) -> None:
        """The right of an account or a group to see an Archive or Collection."""
        with self.engine.begin() as connection:
            connection.execute(insert(Grant).values(id=new_id(), given_by="test", **values))

    def collection(self, *archives: UUID, **values: Any) -> UUID:
        """A Collection of these Archives."""
        collection_id = new_id()
        with self.engine.begin() as connection:
            connection.execute(insert(Collection).values(**{"id": collection_id, "name": str(collection_id)} | values))
            for archive_id in archives:
                connection.execute(insert(CollectionMember).values(collection_id=collection_id, archive_id=archive_id))
        return collection_id

    def audited(self) -> list[Any]:
        """The audit log, oldest entry first."""
        with self.engine.connect() as connection:
            return list(connection.execute(select(AuditEntry.__table__).order_by(AuditEntry.sequence)))

    def archive(self, **values: Any) -> UUID:
        """An Archive."""
        archive_id = new_id()
        row = {"id": archive_id, "title": "A title", "state": "completed", "pipeline": PIPELINE, "origin": "deposit"}
        with self.engine.begin() as connection:
            connection.execute(insert(Archive).values(**row | values))
        return archive_id

    def resource(self, source: str, recid: str) -> UUID:
        """A Resource."""
        resource_id = new_id()
        with self.engine.begin() as connection:
            connection.execute(insert(Resource).values(id=resource_id, source=source, recid=recid))
        return resource_id

    def step(self, archive_id: UUID, name: str, position: int, state: str, **values: Any) -> UUID:
        """A step."""
        step_id = new_id()
        row = {"id": step_id, "archive_id": archive_id, "name": name, "position": position, "state": state}
        with self.engine.begin() as connection:
            connection.execute(insert(Step).values(**row | values))
        return step_id

    def aip(self, archive_id: UUID, files: dict[str, bytes] | None = None) -> UUID:
        """An AIP in the store, with its files in the registry."""
        content = FILES if files is None else files
        whole, offsets = _tar(archive_id, content)
        written = self.store.put(self.settings.bucket_aips, f"{archive_id}/{archive_id}.tar", whole)
        package_id = new_id()
        row = {
            "id": package_id,
            "archive_id": archive_id,
            "kind": "AIP",
            "bucket": written.info.ref.bucket,
            "key": written.info.ref.key,
            "version_id": written.info.ref.version_id,
            "etag": written.info.ref.etag,
            "container": "tar",
            "size": len(whole),
            "checksums": {"sha256": hashlib.sha256(whole).hexdigest()},
            "accepted": True,
        }
        with self.engine.begin() as connection:
            connection.execute(insert(Package).values(**row))
            connection.execute(
                insert(PackageFile),
                [
                    {
                        "package_id": package_id,
                        "path": path,
                        "size": len(data),
                        "checksums": {"sha256": hashlib.sha256(data).hexdigest()},
                        "offset": offsets[path],
                        "media_type": MEDIA_TYPES.get(path.rpartition(".")[2]),
                    }
                    for path, data in content.items()
                ],
            )
            connection.execute(
                insert(Copy).values(
                    package_id=package_id,
                    location="object-store",
                    uri=f"s3://{written.info.ref.bucket}/{written.info.ref.key}",
                    size=len(whole),
                    checksums=row["checksums"],
                    verified_at=datetime.now(UTC),
                )
            )
        return package_id

    def published(
        self, content: str = "aip", dip: Choice | None = None, files: dict[str, bytes] | None = None, **values: Any
    ) -> UUID:
        """An Archive with an AIP that is published on the access pages, by that policy."""
        archive_id = self.archive(**values)
        self.aip(archive_id, files)
        self.publish(archive_id, content, dip)
        return archive_id

    def publish(self, archive_id: UUID, content: str = "aip", dip: Choice | None = None) -> None:
        """Publish an Archive that has an AIP on the access pages, by that policy."""
        destination = Destination(id="access-pages", type="access-pages", content=content, dip=dip or Choice())
        with self.engine.begin() as connection:
            package = published.aip(connection, archive_id)
            assert package is not None
            rows = files.page(connection, package.id, limit=1000)
            entries = [Entry(Member(row.path, row.offset, row.size, NO_DIGESTS)) for row in rows]
            aip = ArchiveAip(
                package.id, PackageKind.AIP, package.bucket, package.key, "tar", package.size, package.version_id
            )
            offers.record(
                connection, "access-pages", archive_id, publish_pages.offer(aip, entries, destination, self.store)
            )
            connection.execute(
                insert(Publication).values(
                    archive_id=archive_id,
                    destination="access-pages",
                    url=f"http://access.test/archives/{archive_id}",
                )
            )

    def withdraw(self, archive_id: UUID, **details: str) -> None:
        """Take an Archive off the access pages, for the reason that `details` give."""
        with self.engine.begin() as connection:
            connection.execute(delete(Publication).where(Publication.archive_id == archive_id))
            noted = {"record_id": str(archive_id), "state": "withdrawn", "details": details, "updated_at": func.now()}
            placement = insert_or_update(Placement).values(destination="access-pages", archive_id=archive_id, **noted)
            connection.execute(
                placement.on_conflict_do_update(index_elements=["destination", "archive_id"], set_=noted)
            )

    def premis(self, archive_id: UUID, *types: str) -> None:
        """PREMIS events that name the Archive."""
        with self.engine.begin() as connection:
            log.append(
                connection,
                [
                    Event(
                        id=new_id(),
                        type=kind,
                        at=datetime.now(UTC),
                        details=(f"{kind} of it",),
                        outcomes=(Outcome("success", ("well done",)),),
                        agents=(Identifier("software", "perdura", ("executing program",)),),
                        objects=(Identifier("UUID", str(archive_id)),),
                    )
                    for kind in types
                ],
                actor="test",
            )

    def statements(self) -> Iterator[list[str]]:
        """Counts the SQL statements that are run while it is open, those of the limiter's own connection among them."""
        seen: list[str] = []

        def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            seen.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(Engine, "before_cursor_execute", note)


def _tar(archive_id: UUID, files: dict[str, bytes]) -> tuple[bytes, dict[str, int]]:
    buffer, offsets = io.BytesIO(), {}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(f"{archive_id}/{path}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
            offsets[path] = buffer.tell() - -(-len(data) // 512) * 512
    return buffer.getvalue(), offsets


def _client(respond: Any) -> Client:
    def application(environ: Any, start_response: Any) -> Any:
        return respond(flask.Request(environ))(environ, start_response)

    return Client(application)


def bearer(token: str = TOKEN) -> dict[str, str]:
    """The header of a program."""
    return {"Authorization": f"Bearer {token}"}


def sign_in(client: Client) -> TestResponse:
    """Sign the client in as the administrator."""
    return client.post("/sign-in", data={"token": TOKEN}, base_url=BASE)


def csrf_of(page: TestResponse) -> str:
    """The CSRF token of a page."""
    return page.text.split('name="csrf" content="', 1)[1].split('"', 1)[0]
