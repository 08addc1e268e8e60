"""Verifying bags: seconds, CPU and memory beside `bagit`, from an object store on this machine and from disk.

    python benchmarks/packages.py [--large]

Each case runs in a process of its own. From the store, the peer's way is to download the zip, unpack it and validate
the bag on disk; ours reads ranges and writes nothing. `--large` adds a bag of 10 GiB, to show that memory stays.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from perdura.errors import PerduraError
from perdura.local import seaweedfs
from perdura.local.ports import is_free
from perdura.local.state import Home
from perdura.packages.sources import LocalTree, StoredObject
from perdura.packages.verify import verify
from perdura.packages.zip import ZipWriter
from perdura.settings import Settings, settings
from perdura.storage import buckets
from perdura.storage.s3 import S3Store

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


def ours_stored(key: str) -> str:
    """Verify the object where it is."""
    store = S3Store(settings())
    found = store.head(BUCKET, key)
    return str(verify(StoredObject(store, found.ref, found.size)).verdict)


def peer_stored(key: str, processes: int) -> str:
    """Download, unpack, validate."""
    import bagit

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "bag.zip"
        S3Store(settings()).client.download_file(BUCKET, key, str(place))
        with zipfile.ZipFile(place) as archive:
            archive.extractall(folder)  # our own bag
        return str(bagit.Bag(f"{folder}/bag").validate(processes=processes))


def ours_on_disk(folder: str) -> str:
    """Verify a directory."""
    return str(verify(LocalTree(folder)).verdict)


def peer_on_disk(folder: str, processes: int) -> str:
    """Validate a directory."""
    import bagit

    return str(bagit.Bag(folder).validate(processes=processes))


WAYS = {"ours-stored": ours_stored, "ours-disk": ours_on_disk, "peer-stored": peer_stored, "peer-disk": peer_on_disk}


def measure(
    way: str, target: str, processes: int | None = None, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Best of two runs in processes of their own."""
    command = [sys.executable, __file__, "--run", way, target] + ([str(processes)] if processes else [])
    runs = []
    for _ in range(2):
        done = subprocess.run(
            command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=True
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return dict(min(runs, key=lambda run: run["seconds"]))


def run_one(way: str, target: str, *processes: str) -> None:
    """One measurement, printed as JSON: seconds, CPU-seconds, peak memory in MiB and bytes written."""
    written = _written()
    start, cpu = time.perf_counter(), sum(os.times()[:4])
    verdict = WAYS[way](target, *map(int, processes))  # type: ignore[operator]
    seconds, cpu = time.perf_counter() - start, sum(os.times()[:4]) - cpu
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(
        json.dumps(
            {"verdict": verdict, "seconds": seconds, "cpu": cpu, "rss": peak // 1024, "written": _written() - written}
        )
    )


def _written() -> int:
    """Bytes this process asked to be written to files (sockets are not counted in `write_bytes`)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split(": ")[1] for line in lines if line.startswith("write_bytes")))


@contextmanager
def object_store(folder: Path) -> Iterator[dict[str, str]]:
    """An object store of our own; gives the environment that reaches it."""
    first = next(port for port in range(21_000, 29_000, 10) if all(is_free(p) for p in _ports(port)))
    home = Home(folder)
    for name in ("logs", "sockets", "secrets"):
        (folder / name).mkdir()
    server = seaweedfs.Server(home, first, folder / "sockets", seaweedfs.find_binary())
    seaweedfs.configure(server, None)
    program = seaweedfs.program(server)
    environment = {
        "PERDURA_S3_ENDPOINT": server.endpoint,
        "PERDURA_S3_ACCESS_KEY": seaweedfs.ACCESS_KEY,
        "PERDURA_S3_SECRET_KEY": home.secret("s3"),
    }
    os.environ.update(environment)
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(program.argv, cwd=program.cwd, env=dict(program.env), stdout=log, stderr=log)
    try:
        _await(process)
        yield environment
    finally:
        process.terminate()
        process.wait()


def _ports(first: int) -> Iterator[int]:
    for port in range(first, first + 5):
        yield from (port, port + 10_000)


def _await(process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        try:
            buckets.create(Settings())
            S3Store(Settings()).put(BUCKET, "ready", b"ready")
        except PerduraError:
            if process.poll() is not None:
                raise
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the object store did not start")


def row(case: str, way: str, size: int, files: int, result: dict[str, Any], peer: dict[str, Any]) -> str:
    """One line of the table."""
    gigabytes = size * files / 1e9
    return (
        f"| {case} | {way} | {result['verdict']} | {result['seconds']:.2f} | {gigabytes / result['seconds']:.2f} "
        f"| {files / result['seconds']:,.0f} | {result['cpu'] / gigabytes:.2f} | {result['rss']} "
        f"| {result['written'] / MIB:,.0f} | {peer['seconds'] / result['seconds']:.1f} x |"
    )


def main(large: bool) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory(prefix="perdura-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        head = (
            "| bag | way | verdict | s | GB/s | files/s | CPU-s/GB | RSS MiB | MiB written | against `bagit` |\n"
            + "|---" * 10
            + "|"
        )
        with object_store(folder) as environment:
            print("Zipped bag in the object store\n\n" + head)
            for case, (files, size) in {**STORED, **SMALL, **(LARGE if large else {})}.items():
                key = f"{files}-{size}.zip"
                with S3Store(Settings()).writer(BUCKET, key) as writer:
                    write_bag(writer.write, files, size)
                    writer.finish()
                measure("ours-stored", key, environment=environment)
                ours = measure("ours-stored", key, environment=environment)
                if case in LARGE:
                    print(row(case, "ours", size, files, ours, ours), flush=True)
                    continue
                peers = [measure("peer-stored", key, n, environment) for n in (1, 2)]
                best = min(peers, key=lambda peer: peer["seconds"])
                print(row(case, "ours", size, files, ours, best))
                for count, peer in enumerate(peers, 1):
                    print(row(case, f"download, unzip, bagit ({count} pr.)", size, files, peer, best), flush=True)
        print("\nBag on disk\n\n" + head)
        for case, (files, size) in {**ON_DISK, **SMALL}.items():
            with (folder / "bag.zip").open("wb") as out:
                write_bag(out.write, files, size)
            with zipfile.ZipFile(folder / "bag.zip") as archive:
                archive.extractall(folder / "unpacked")
            (folder / "bag.zip").unlink()
            bag = str(folder / "unpacked" / "bag")
            ours, peers = measure("ours-disk", bag), [measure("peer-disk", bag, n) for n in (1, 2)]
            best = min(peers, key=lambda peer: peer["seconds"])
            print(row(case, "ours", size, files, ours, best))
            for count, peer in enumerate(peers, 1):
                print(row(case, f"bagit ({count} pr.)", size, files, peer, best), flush=True)
            shutil.rmtree(folder / "unpacked")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run_one(*sys.argv[2:])
    else:
        main(large="--large" in sys.argv)
