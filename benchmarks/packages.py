"""Verifying bags: seconds, CPU and memory beside `bagit`, from an object store on this machine and from disk.

    python benchmarks/packages.py [--store | --small | --disk | --large]        (all of it: within ten minutes)

Each case runs in a process of its own, its imports done and its store client warm before the clock starts. From the
store, the peer's way is to download the zip, unpack it and validate the bag on disk; ours reads ranges and writes none.
What the store and SHA-256 cost alone is measured beside them: nothing can be faster than both. `--large` measures a bag
of 10 GiB, to show that memory stays; the others one part of the cases each.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from perdura.local.passing_store import passing_store
from perdura.packages.container import SPAN
from perdura.packages.digesting import processors
from perdura.packages.sources import LocalTree, StoredObject
from perdura.packages.verify import verify
from perdura.packages.zip import ZipWriter
from perdura.settings import Settings, settings
from perdura.storage.s3 import S3Store
from perdura.storage.store import ObjectRef

KIB, MIB, GIB = 2**10, 2**20, 2**30
STORED = {"1 x 1 GiB": (1, GIB), "1,024 x 1 MiB": (1024, MIB), "10,240 x 100 KiB": (10_240, 100 * KIB)}
SMALL = {"100,000 x 1 KiB": (100_000, KIB)}
ON_DISK = {"1 x 2 GiB": (1, 2 * GIB), "10,000 x 100 KiB": (10_000, 100 * KIB)}
LARGE = {"10 x 1 GiB": (10, GIB)}
BUCKET = "perdura-incoming"
_PIECE = random.Random(1).randbytes(MIB)


def body(number: int, size: int) -> Iterator[bytes]:
    """Bytes that do not compress, other ones for each file."""
    head = number.to_bytes(8, "little") + _PIECE[8:]
    for start in range(0, size, MIB):
        yield head[: min(MIB, size - start)]


def write_bag(write: Any, files: int, size: int) -> None:
    """A zipped bag with sha256 manifests."""
    archive = ZipWriter(write)
    lines = []
    for number in range(files):
        digest = sha256()
        for piece in body(number, size):
            digest.update(piece)
        lines.append(f"{digest.hexdigest()}  {path_of(number)}\n")
    tags = {
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": f"Payload-Oxum: {files * size}.{files}\n".encode(),
        "manifest-sha256.txt": "".join(lines).encode(),
    }
    listing = "".join(f"{sha256(data).hexdigest()}  {path}\n" for path, data in tags.items()).encode()
    for path, data in {**tags, "tagmanifest-sha256.txt": listing}.items():
        archive.add(f"bag/{path}", len(data), (data,))
    for number in range(files):
        archive.add(f"bag/{path_of(number)}", size, list(body(number, size)))
    archive.finish()


def path_of(number: int) -> str:
    """Where a payload file lies, a thousand to a directory."""
    return f"data/{number // 1000:03d}/file-{number:06d}.bin"


def ours_stored(store: S3Store, key: str) -> str:
    """Verify the object where it is."""
    found = store.head(BUCKET, key)
    return str(verify(StoredObject(store, found.ref, found.size)).verdict)


def peer_stored(store: S3Store, key: str, processes: int) -> str:
    """Download, unpack, validate."""
    import bagit

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "bag.zip"
        store.client.download_file(BUCKET, key, str(place))
        with zipfile.ZipFile(place) as archive:
            archive.extractall(folder)  # our own bag
        return str(bagit.Bag(f"{folder}/bag").validate(processes=processes))


def ours_on_disk(_: S3Store, folder: str) -> str:
    """Verify a directory."""
    return str(verify(LocalTree(folder)).verdict)


def peer_on_disk(_: S3Store, folder: str, processes: int) -> str:
    """Validate a directory."""
    import bagit

    return str(bagit.Bag(folder).validate(processes=processes))


def sha256_alone(_: S3Store, size: str) -> str:
    """The least that any verification has to do, in the same minutes: SHA-256 of as many bytes, from memory."""
    digest, piece = sha256(), bytearray(MIB)
    for _ in range(int(size) // MIB):
        digest.update(piece)
    return "-"


def received(store: S3Store, key: str) -> str:
    """The least that any reading from this store costs: the object by ranges, on as many threads, and nothing done."""
    found = store.head(BUCKET, key)
    starts = iter(range(0, found.size, SPAN))

    def work() -> None:
        for start in starts:
            for _ in store.stream(found.ref, start, min(SPAN, found.size - start)):
                pass

    threads = [threading.Thread(target=work) for _ in range(processors())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "-"


WAYS = {
    "sha256": sha256_alone,
    "received-stored": received,
    "ours-stored": ours_stored,
    "ours-disk": ours_on_disk,
    "peer-stored": peer_stored,
    "peer-disk": peer_on_disk,
}


Ask = Callable[[], dict[str, Any]]


def measure(
    way: str, target: str, processes: int | None = None, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--run", way, target] + ([str(processes)] if processes else [])
    done = subprocess.run(
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_one(way: str, target: str, *processes: str) -> None:
    """One measurement, printed as JSON: seconds, CPU-seconds, peak memory in MiB and bytes written."""
    import bagit  # noqa: F401 - neither side pays for imports

    store = S3Store(settings())
    if way.endswith("stored"):
        store.head(BUCKET, target)
    written = _written()
    start, cpu = time.perf_counter(), sum(os.times()[:4])
    verdict = WAYS[way](store, target, *map(int, processes))  # type: ignore[operator]
    seconds, cpu = time.perf_counter() - start, sum(os.times()[:4]) - cpu
    rss = _proc("status", "VmHWM") // 1024
    print(json.dumps({"verdict": verdict, "seconds": seconds, "cpu": cpu, "rss": rss, "written": _written() - written}))


def _written() -> int:
    """Bytes this process asked to be written to files (sockets are not counted in `write_bytes`)."""
    return _proc("io", "write_bytes")


def _proc(file: str, name: str) -> int:
    """A number that the kernel keeps of this process; `ru_maxrss` would be that of whoever started it."""
    lines = Path(f"/proc/self/{file}").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def reaching(store: Settings) -> dict[str, str]:
    """The environment that reaches the store."""
    assert store.s3_secret_key is not None
    return {
        "PERDURA_S3_ENDPOINT": str(store.s3_endpoint),
        "PERDURA_S3_ACCESS_KEY": str(store.s3_access_key),
        "PERDURA_S3_SECRET_KEY": store.s3_secret_key.get_secret_value(),
    }


def row(case: str, way: str, size: int, files: int, result: dict[str, Any], ours: dict[str, Any]) -> str:
    """One line of the table."""
    gigabytes = size * files / 1e9
    return (
        f"| {case} | {way} | {result['verdict']} | {result['seconds']:.2f} | {gigabytes / result['seconds']:.2f} "
        f"| {files / result['seconds']:,.0f} | {result['cpu'] / gigabytes:.2f} | {result['rss']} "
        f"| {result['written'] / MIB:,.0f} | {result['seconds'] / ours['seconds']:.1f} x as fast |"
    )


HEAD = "| bag | way | verdict | s | GB/s | files/s | CPU-s/GB | RSS MiB | MiB written | ours is |\n" + "|---" * 10 + "|"


def compare(case: str, size: int, files: int, ours: Ask, peers: dict[str, Ask], runs: int = 3) -> None:
    """Measure both sides in turn, the best of so many runs each, and print their lines."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(runs):
        for way, ask in {"ours": ours, **peers}.items():
            found.setdefault(way, []).append(ask())
    best = {way: min(runs, key=lambda run: run["seconds"]) for way, runs in found.items()}
    for way, result in best.items():
        print(row(case, way, size, files, result, best["ours"]), flush=True)


def in_store(cases: dict[str, tuple[int, int]], folder: Path, *, beside: bool) -> None:
    """Zipped bags in an object store; without a peer where that would take too long or too much room."""
    print("Zipped bag in the object store\n\n" + HEAD)
    with passing_store(folder) as store:
        for case, (files, size) in cases.items():
            key = f"{files}-{size}.zip"
            with S3Store(store).writer(BUCKET, key) as writer:
                write_bag(writer.write, files, size)
                writer.finish()
            peers = {"download, unzip, bagit": partial(measure, "peer-stored", key, 1, reaching(store))}
            peers["the same, 2 processes"] = partial(measure, "peer-stored", key, 2, reaching(store))
            ours = partial(measure, "ours-stored", key, None, reaching(store))
            if case in SMALL:
                bag = unpacked(folder, files, size)
                peers["bagit on the bag unpacked"] = partial(measure, "peer-disk", bag, 1)
            peers = peers if beside else {}
            peers["received, nothing done"] = partial(measure, "received-stored", key, None, reaching(store))
            peers["sha256 alone, one thread"] = partial(measure, "sha256", str(size * files))
            compare(case, size, files, ours, peers, runs=3 if beside else 1)
            S3Store(store).delete(ObjectRef(BUCKET, key))


def unpacked(folder: Path, files: int, size: int) -> str:
    """A bag on disk."""
    with (folder / "bag.zip").open("wb") as out:
        write_bag(out.write, files, size)
    with zipfile.ZipFile(folder / "bag.zip") as archive:
        archive.extractall(folder / "unpacked")
    (folder / "bag.zip").unlink()
    return str(folder / "unpacked" / "bag")


def on_disk(cases: dict[str, tuple[int, int]], folder: Path) -> None:
    """Unpacked bags."""
    print("\nBag on disk\n\n" + HEAD)
    for case, (files, size) in cases.items():
        bag = unpacked(folder, files, size)
        peers = {f"bagit, {n} pr.": partial(measure, "peer-disk", bag, n) for n in (1, 2)}
        compare(case, size, files, partial(measure, "ours-disk", bag), peers)
        shutil.rmtree(folder / "unpacked")


def main(chosen: str) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory(prefix="perdura-bench-", dir="/var/tmp") as name:
        if chosen in ("", "--store"):
            in_store(STORED, Path(name), beside=True)
        if chosen in ("", "--small"):
            in_store(SMALL, Path(name), beside=True)
        if chosen in ("", "--disk"):
            on_disk(ON_DISK | SMALL, Path(name))
        if chosen in ("", "--large"):
            in_store(LARGE, Path(name), beside=False)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run_one(*sys.argv[2:])
    else:
        main(sys.argv[1] if sys.argv[1:] else "")
