"""Publishing: a record on a real InvenioRDM beside the bare requests it takes, a large file, and a zip of many files.

    python benchmarks/publish.py [record] [large] [zip]

The server is the test peer (`tests/peers/inveniordm`), installed when it is missing; `RDM_STATE` names one that runs
already. The bare minimum is what any client has to send, over one connection: create, announce both files, send and
commit each, update, publish. Ours looks first whether the record is there, compares MD5 and size after each commit, and
reads record and files back. Both are run in turn. Memory is the peak of a process that does nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from perdura.clients.inveniordm.wire import Wire
from perdura.ids import new_id
from perdura.local.passing_store import passing_store
from perdura.packages import zip_stream
from perdura.settings import Settings
from perdura.steps.publish_record import Order, Publisher
from perdura.steps.publish_transfer import Sending, Wanted
from perdura.storage.runs import Runs
from perdura.storage.s3 import S3Store

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.peers.inveniordm import peer

ROUNDS = 15
FILES = {"report.pdf": os.urandom(200_000), "table.csv": b"a,b\n1,2\n" * 20_000}
LARGE = 2**30
ZIPPED, EACH = 10_000, 64 * 2**10
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


def bare(client: httpx.Client) -> None:
    """The requests that no client can do without."""
    told = body(f"urn:uuid:{new_id()}")
    record = client.post("/api/records", json=told).raise_for_status().json()["id"]
    draft = f"/api/records/{record}/draft"
    client.post(f"{draft}/files", json=[{"key": key} for key in FILES]).raise_for_status()
    for key, data in FILES.items():
        file = f"{draft}/files/{quote(key, safe='')}"
        octets = {"Content-Type": "application/octet-stream"}
        client.put(f"{file}/content", content=data, headers=octets).raise_for_status()
        client.post(f"{file}/commit").raise_for_status()
    client.put(draft, json=told).raise_for_status()
    client.post(f"{draft}/actions/publish").raise_for_status()


def _note(*_: object) -> None:
    """What the registry would note."""


def ours(wire: Wire) -> None:
    """The same by the step's own algorithm, the lock of the registry left out."""
    package = f"urn:uuid:{new_id()}"
    wanted = [
        Wanted(
            key,
            len(data),
            hashlib.sha256(data).hexdigest(),
            lambda begin, size, d=data: iter([d[begin : begin + size]]),
        )
        for key, data in FILES.items()
    ]
    order = Order(package, None, body(package), wanted, Sending())
    Publisher(wire, order, _note, lambda: None).publish()


def record(server: peer.Peer) -> None:
    """Time of a two-file record, ours and bare, in turn."""
    token = server.tokens["publisher"]
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client, Wire(server.url, token) as wire:
        for number in range(ROUNDS + 2):
            for name, work in (("bare", lambda: bare(client)), ("ours", lambda: ours(wire))):
                begun = time.perf_counter()
                work()
                if number >= 2:
                    times[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["ours"] / medians["bare"]
    print(f"two-file record, bare minimum of 8 requests, median of {ROUNDS}: {medians['bare']:.3f} s")
    print(f"two-file record, published exactly once and proven: {medians['ours']:.3f} s, {ratio:.2f}x (to reach 1.2x)")


def child(work: str, *arguments: str) -> str:
    """The output of a process of its own."""
    command = [sys.executable, __file__, "--child", work, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done.stdout.strip()


def peak() -> float:
    """Peak resident memory of this process in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


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
        order = Order(package, None, body(package), [file], Sending())
        Publisher(wire, order, _note, lambda: None).publish()
    took, used = time.perf_counter() - begun, cpu() - used
    print(
        f"1 GiB file published and compared: {took:.1f} s, {used:.1f} s of processor, "
        f"peak {peak():.0f} MiB (idle {before:.0f}; to reach 200)"
    )


def zip_many(*arguments: str) -> None:
    """In a process of its own: stream the zip of 10,000 files out of one tar-like object, as the access pages do."""
    store = store_of(list(arguments))
    info = store.head(BUCKET, "many")
    step = EACH + 512
    reader = Runs(store, info.ref, [(number * step + 512, EACH) for number in range(ZIPPED)])
    entries = [
        zip_stream.Entry(f"folder/{number:05d}.bin", EACH, lambda n=number: reader.read(n * step + 512, EACH))
        for number in range(ZIPPED)
    ]
    expected = zip_stream.length(entries)
    zipped, plain, used = [], [], []
    for _ in range(ZIP_ROUNDS):
        begun, before = time.perf_counter(), cpu()
        length = sum(len(chunk) for chunk in zip_stream.stream(entries, info.modified))
        zipped.append(length / (time.perf_counter() - begun) / 1e6)
        used.append(cpu() - before)
        assert length == expected
        begun = time.perf_counter()
        plain.append(sum(len(chunk) for chunk in store.stream(info.ref)) / (time.perf_counter() - begun) / 1e6)
    print(
        f"zip of {ZIPPED} files of {EACH // 1024} KiB, median of {ZIP_ROUNDS}: {statistics.median(zipped):.0f} MB/s "
        f"(to reach 300; each {', '.join(f'{speed:.0f}' for speed in zipped)}), {statistics.median(used):.2f} s of "
        f"processor, peak {peak():.0f} MiB (to reach 200); the store alone gives {statistics.median(plain):.0f} MB/s"
    )


def filled(store: S3Store, key: str, size: int) -> None:
    """An object of so many random bytes."""
    block = os.urandom(8 << 20)
    with store.writer(BUCKET, key, size=size) as writer:
        while writer.position < size:
            writer.write(block[: size - writer.position])
        writer.finish()


def with_store(parts: set[str], server: peer.Peer | None) -> Iterator[str]:
    """Measure what needs the object store."""
    with passing_store() as settings:
        access = (settings.s3_endpoint or "", settings.s3_access_key or "", settings.s3_secret_key.get_secret_value())
        store = S3Store(settings)
        if "zip" in parts:
            filled(store, "many", ZIPPED * (EACH + 512))
            yield child("zip_many", *access)
        if "large" in parts and server is not None:
            filled(store, "large", LARGE)
            yield child("publish_large", server.url, server.tokens["publisher"], *access)


def main() -> None:
    """Measure what is asked for, by default all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=[], help="record, large, zip")
    parts = set(parser.parse_args().parts) or {"record", "large", "zip"}
    if parts == {"zip"}:
        print(*with_store(parts, None), sep="\n")
        return
    with peer.running() as server:
        if "record" in parts:
            record(server)
        if parts - {"record"}:
            print(*with_store(parts, server), sep="\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        globals()[sys.argv[2]](*sys.argv[3:])
    else:
        main()
