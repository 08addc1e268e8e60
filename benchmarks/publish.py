"""Publishing: a record on a real InvenioRDM beside the bare requests it takes, a large file, and a zip of many files.

    python benchmarks/publish.py [record] [large] [zip] [--rounds N] [--large BYTES] [--files N] [--each BYTES]

The server is the test peer (`tests/peers/inveniordm`), installed when it is missing; `RDM_STATE` names one that runs
already. Two bare sides are measured over one connection: the seven requests that any client has to send (create,
announce both files, send and commit each, publish), and the twelve of a client that makes one record whatever happens
(inveniordm.md 4: search before, files of the draft, last update, record and files read back). Ours is the whole step,
with registry and object store: lock and notes, the AIP's index, mapping, look-ups, files read out of the AIP, a look
whether the record is there, MD5 and size after each commit, record and files read back. They are run in turn. The zip
is asked over HTTP of the function `publish` as it is deployed, with a PostgreSQL of its own. Memory is the peak of a
process that does nothing else. About three minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit
from uuid import UUID

import httpx
from sqlalchemy import Engine, create_engine, insert

from perdura.clients.destinations import ACCESS_PAGES, access_configuration
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import Wire
from perdura.ids import new_id
from perdura.local.passing_store import passing_store
from perdura.outcome import ArchiveView, StepState
from perdura.ports import Offer, Ports
from perdura.registry import migrate, offers
from perdura.registry.placements import RegistryPlacements
from perdura.registry.tables import Archive, Package, PackageFile, Publication
from perdura.settings import Settings
from perdura.steps import dip, publish, publish_body
from perdura.steps import publish_content as content
from perdura.steps.publish_found import Sought, look
from perdura.steps.publish_record import Order, Publisher
from perdura.steps.publish_wanted import Sending, Wanted
from perdura.storage.s3 import S3Store

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.registry import postgres
from benchmarks.serving import peak, serving
from tests.contract.test_inveniordm.ports import ports_for, preserved
from tests.peers.inveniordm import peer

FILES = {"report.pdf": os.urandom(200_000), "table.csv": b"a,b\n1,2\n" * 20_000}
DESCRIBED = {
    "metadata": {
        "title": "A preserved package", "publication_date": "2026-01-01", "publisher": "Archive",
        "resource_type": {"id": "dataset"}, "languages": [{"id": "eng"}],
        "creators": [{"person_or_org": {"type": "personal", "family_name": "Carberry", "given_name": "Josiah"}}],
    }
}  # fmt: skip
ZIP_ROUNDS = 5
BUCKET = "perdura-aips"


def body(package: str) -> dict[str, Any]:
    """The body of a record."""
    return {
        "access": {"record": "public", "files": "public"},
        "files": {"enabled": True},
        "metadata": {
            "resource_type": {"id": "dataset"},
            "title": "A preserved package",
            "publication_date": "2026-01-01",
            "publisher": "Archive",
            "creators": [{"person_or_org": {"type": "organizational", "name": "Archive"}}],
            "identifiers": [{"scheme": "urn", "identifier": package}],
        },
    }


def fewest(client: httpx.Client, told: Mapping[str, Any]) -> None:
    """The requests that no client can do without: the record is described when it is made, so it is not updated."""
    record = client.post("/api/records", json=told).raise_for_status().json()["id"]
    _filled(client, record)
    client.post(f"/api/records/{record}/draft/actions/publish").raise_for_status()


def exactly_once(client: httpx.Client, told: Mapping[str, Any]) -> None:
    """The requests of a client that publishes once whatever happens, and proves what it published (inveniordm.md 4)."""
    ours = {"q": f'metadata.identifiers.identifier:"urn:uuid:{new_id()}"', "allversions": "true", "size": "25"}
    client.get("/api/user/records", params=ours).raise_for_status()
    record = client.post("/api/records", json=told).raise_for_status().json()["id"]
    draft = f"/api/records/{record}/draft"
    client.get(f"{draft}/files").raise_for_status()
    _filled(client, record)
    client.put(draft, json=told).raise_for_status()
    client.post(f"{draft}/actions/publish").raise_for_status()
    client.get(f"/api/records/{record}").raise_for_status()
    client.get(f"/api/records/{record}/files").raise_for_status()


def _filled(client: httpx.Client, record: str) -> None:
    draft = f"/api/records/{record}/draft"
    client.post(f"{draft}/files", json=[{"key": key} for key in FILES]).raise_for_status()
    for key, data in FILES.items():
        file = f"{draft}/files/{quote(key, safe='')}"
        octets = {"Content-Type": "application/octet-stream"}
        client.put(f"{file}/content", content=data, headers=octets).raise_for_status()
        client.post(f"{file}/commit").raise_for_status()


def _note(*_: object) -> None:
    """What the registry would note."""


@dataclass(frozen=True)
class Real:
    """The step `publish` as it is deployed: registry, object store, and the file that describes the destination."""

    engine: Engine
    store: S3Store
    access: Path

    def archive(self) -> ArchiveView:
        """A preserved Archive of both files and of the document that describes them, in store and registry."""
        files = {f"content/{key}": data for key, data in FILES.items()}
        made = preserved(cast("Any", self.store), {"meta/metadata.json": json.dumps(DESCRIBED).encode(), **files})
        with self.engine.begin() as connection:
            connection.execute(insert(Archive).values(id=made.id, title=made.title, pipeline=[], origin="benchmark"))
        return made

    def ports(self, archive: ArchiveView) -> Ports:
        """The adapters of one invocation."""
        placements = RegistryPlacements(self.engine)
        return ports_for(cast("Any", self.store), self.access, placements, archive.step.id)

    def body(self) -> dict[str, Any]:
        """What the step sends to describe a record, for those who send nothing else."""
        archive = self.archive()
        aip, ports = archive.packages[0], self.ports(archive)
        (destination,) = access_configuration(str(self.access)).destination
        found = dip.entries_of(aip, ports.store)
        mapped = content.mapped(archive, aip, found, ports)
        return publish_body.body(mapped, content.facts(archive, aip, found, ports), destination, files=True)

    def publish(self, archive: ArchiveView) -> None:
        """One invocation of the step: lock and notes, the index of the AIP, mapping, look-ups, files, the proof."""
        outcome = publish.run(archive, self.ports(archive))
        assert outcome.state is StepState.COMPLETED, outcome.message


@contextmanager
def real(server: peer.Peer) -> Iterator[Real]:
    """Registry and store for the step."""
    os.environ["BENCHMARK_TOKEN"] = server.tokens["publisher"]
    with passing_store() as settings, postgres(None) as (database, _), tempfile.TemporaryDirectory() as folder:
        access = Path(folder) / "access.toml"
        access.write_text(
            f'[[destination]]\nid = "library"\ntype = "inveniordm"\nurl = "{server.url}"\n'
            'token = { env = "BENCHMARK_TOKEN" }\n[destination.dip]\ninclude = ["content/*"]\nnames = "flat"\n'
        )
        engine = create_engine(database)
        migrate.upgrade(engine)
        yield Real(engine, S3Store(settings), access)


def record(server: peer.Peer, rounds: int) -> None:
    """Time of a two-file record, ours and both bare ones, in turn."""
    times: dict[str, list[float]] = {"fewest": [], "exactly once": [], "ours": []}
    headers = {"Authorization": f"Bearer {server.tokens['publisher']}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client, real(server) as ours:
        told = ours.body()
        for number in range(rounds + 2):
            archive = ours.archive()
            bare = {"fewest": partial(fewest, client, told), "exactly once": partial(exactly_once, client, told)}
            for name, work in (bare | {"ours": partial(ours.publish, archive)}).items():
                begun = time.perf_counter()
                work()
                if number >= 2:
                    times[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(
        f"two-file record, median of {rounds}, by the step as it is deployed: {medians['ours']:.3f} s (to reach 1.2x)"
    )
    for name, requests in (("exactly once", 12), ("fewest", 7)):
        ratio = medians["ours"] / medians[name]
        print(f"two-file record, {requests} bare requests ({name}): {medians[name]:.3f} s, ours is {ratio:.2f}x")


def child(work: str, *arguments: str, of: str = __file__) -> str:
    """The output of a process of its own."""
    command = [sys.executable, of, "--child", work, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done.stdout.strip()


def cpu() -> float:
    """Processor seconds that this process used: a busy machine makes it slow, not this figure large."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def store_of(arguments: list[str]) -> S3Store:
    """The object store that the parent runs."""
    endpoint, key, secret = arguments
    return S3Store(Settings(s3_endpoint=endpoint, s3_access_key=key, s3_secret_key=secret))


def publish_large(url: str, token: str, *arguments: str) -> None:
    """In a process of its own: publish one file of 1 GiB out of the object store."""
    store = store_of(list(arguments))
    info = store.head(BUCKET, "large")
    before = peak()
    file = Wanted("large.bin", info.size, None, lambda offset, length: store.stream(info.ref, offset, length))
    package = f"urn:uuid:{new_id()}"
    begun, used = time.perf_counter(), cpu()
    with Wire(url, token, timeout=600) as wire:
        order = Order(Sought(package, f"oais:benchmark:{package}"), body(package), [file], Sending())
        Publisher(wire, order, _note, lambda: None).publish(look(Records(wire), order.sought))
    took, used = time.perf_counter() - begun, cpu() - used
    print(
        f"{info.size / 2**30:.2f} GiB file published and compared: {took:.1f} s, {used:.1f} s of processor, "
        f"peak {peak():.0f} MiB (idle {before:.0f}; to reach 200)"
    )


def published(engine: Engine, store: S3Store, files: int, each: int) -> UUID:
    """An Archive on the access pages whose AIP has so many files of so many bytes; its tar is random bytes."""
    archive, package = new_id(), new_id()
    step = each + 512
    filled(store, str(archive), files * step)
    ref = store.head(BUCKET, str(archive)).ref
    paths = [f"data/objects/folder/{number:05d}.bin" for number in range(files)]
    with engine.begin() as connection:
        connection.execute(
            insert(Archive).values(id=archive, title="Many files", state="completed", pipeline=[], origin="deposit")
        )
        connection.execute(
            insert(Package).values(
                id=package, archive_id=archive, kind="AIP", bucket=BUCKET, key=ref.key, version_id=ref.version_id,
                etag=ref.etag, container="tar", size=files * step, checksums={"sha256": "0" * 64}, accepted=True,
            )
        )  # fmt: skip
        rows = [
            {"package_id": package, "path": path, "size": each, "checksums": {}, "offset": number * step + 512}
            for number, path in enumerate(paths)
        ]
        connection.execute(insert(PackageFile), rows)
        named = [(path.removeprefix("data/objects/"), path) for path in paths]
        offers.record(connection, ACCESS_PAGES, archive, Offer(package, "dip", named, files * each))
        connection.execute(insert(Publication).values(archive_id=archive, destination=ACCESS_PAGES, url="x"))
    return archive


def fetched(url: str) -> tuple[int, float]:
    """Bytes of a body and seconds that they took, read by a client that costs as little as can be."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    request = f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    buffer = bytearray(1 << 20)
    begun = time.perf_counter()
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=120) as connection:
        connection.sendall(request.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        assert b" 200 " in head.splitlines()[0], head
        taken = 0
        while count := connection.recv_into(buffer):
            taken += count
    declared = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
    assert taken == int(declared.split(b":")[1]), (taken, head)
    return taken, time.perf_counter() - begun


def zip_over_http(settings: Settings, files: int, each: int) -> str:
    """The zip of all files of an Archive, asked of the function over HTTP, beside the store's own speed."""
    store = S3Store(settings)
    with postgres(None) as (database, _):
        engine = create_engine(database)
        migrate.upgrade(engine)
        archive = published(engine, store, files, each)
        plain_url = store.presigned_get(store.head(BUCKET, str(archive)).ref, 3600)
        zipped, plain = [], []
        told = {
            "PERDURA_DATABASE_URL": database, "PERDURA_RATE_LIMIT_STRANGERS": "0",
            "PERDURA_S3_ENDPOINT": settings.s3_endpoint or "", "PERDURA_S3_ACCESS_KEY": settings.s3_access_key or "",
            "PERDURA_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        }  # fmt: skip
        with serving("publish", told) as (address, worker):
            before = used_by(worker)
            for _ in range(ZIP_ROUNDS):
                length, took = fetched(f"{address}/archives/{archive}/files.zip")
                zipped.append(length / took / 1e6)
                length, took = fetched(plain_url)
                plain.append(length / took / 1e6)
            used = (used_by(worker) - before) / ZIP_ROUNDS
            memory = peak(worker)
    return (
        f"zip of {files} files of {each // 1024} KiB over HTTP, median of {ZIP_ROUNDS}: "
        f"{statistics.median(zipped):.0f} MB/s (to reach 300; each {', '.join(f'{speed:.0f}' for speed in zipped)}), "
        f"{used:.2f} s of the function's processor, its peak {memory:.0f} MiB (to reach 200); "
        f"the store alone gives {statistics.median(plain):.0f} MB/s"
    )


def used_by(process: int) -> float:
    """Processor seconds that a process used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def filled(store: S3Store, key: str, size: int) -> None:
    """An object of so many random bytes."""
    block = os.urandom(8 << 20)
    with store.writer(BUCKET, key, size=size) as writer:
        while writer.position < size:
            writer.write(block[: size - writer.position])
        writer.finish()


def with_store(parts: set[str], server: peer.Peer | None, sizes: argparse.Namespace) -> None:
    """Measure what needs the object store."""
    with passing_store() as settings:
        access = (settings.s3_endpoint or "", settings.s3_access_key or "", settings.s3_secret_key.get_secret_value())
        if "zip" in parts:
            print(zip_over_http(settings, sizes.files, sizes.each), flush=True)
        if "large" in parts and server is not None:
            filled(S3Store(settings), "large", sizes.large)
            print(child("publish_large", server.url, server.tokens["publisher"], *access), flush=True)


def main() -> None:
    """Measure what is asked for, by default all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=[], help="record, large, zip")
    parser.add_argument("--rounds", type=int, default=15, help="records published in either way")
    parser.add_argument("--large", type=int, default=2**30, help="bytes of the large file")
    parser.add_argument("--files", type=int, default=10_000, help="files of the zip")
    parser.add_argument("--each", type=int, default=64 * 2**10, help="bytes of each of them")
    told = parser.parse_args()
    parts = set(told.parts) or {"record", "large", "zip"}
    if "zip" in parts:
        with_store({"zip"}, None, told)
    if parts == {"zip"}:
        return
    with peer.running() as server:
        if "record" in parts:
            record(server, told.rounds)
        if "large" in parts:
            with_store({"large"}, server, told)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        globals()[sys.argv[2]](*sys.argv[3:])
    else:
        main()
