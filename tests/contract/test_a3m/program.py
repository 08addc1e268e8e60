"""A program that takes, says and leaves behind what a3m's command does (archivematica.md 7.8, 10), well or badly."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from tests.peers.archivematica.aip import make

ROOT = Path(__file__).parents[3]


def install(folder: Path, behaviour: str = "well") -> Path:
    """An executable in `folder` that behaves so; what it was given lies beside it as `given.json`."""
    program = folder / "a3m"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"from tests.contract.test_a3m.program import main\nsys.exit(main({behaviour!r}, {str(folder)!r}))\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def main(behaviour: str, folder: str) -> int:
    """One run of the command."""
    arguments = sys.argv[1:]
    transfer = Path(unquote(urlsplit(arguments[0]).path))
    name = arguments[arguments.index("--name") + 1]
    files = {str(path.relative_to(transfer)): path for path in sorted(transfer.rglob("*")) if path.is_file()}
    given = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folders": sorted(path.name for path in (Path(os.environ["A3M_SHARED_DIRECTORY"])).iterdir()),
        "files": {path: file.read_bytes().hex() for path, file in files.items()},
    }
    (Path(folder) / "given.json").write_text(json.dumps(given))
    if "bagit.txt" in files:
        print("Bags not supported yet!")
        return 1
    for line in files["metadata/checksum.sha256"].read_text().splitlines():
        digest, _, path = line.partition("  ")
        if hashlib.sha256((transfer / "metadata" / path).read_bytes()).hexdigest() != digest:
            print(f"{path}: checksum does not match")
            return 1
    return _end(behaviour, Path(folder), name, {path: file.read_bytes() for path, file in files.items()})


def _end(behaviour: str, folder: Path, name: str, files: dict[str, bytes]) -> int:
    match behaviour:
        case "refusing":
            print(
                "x" * 3_000_000
                + "\x1b[31m\x00 Unable to\n process the \udcff package".encode("utf-8", "replace").decode()
            )
            return 1
        case "slow":
            child = subprocess.Popen(["/bin/sleep", "300"])
            (folder / "child").write_text(str(child.pid))
            time.sleep(300)
        case "leaving":
            child = subprocess.Popen(["/bin/sleep", "300"])
            (folder / "child").write_text(str(child.pid))
            _store(name, files)
        case "nothing":
            print("done")
        case "two":
            _store(name, files)
            _store(name, files)
        case "link":
            real = _store(name, files)
            real.rename(folder / real.name)
            real.symlink_to(folder / real.name)
        case "folder":
            real = _store(name, files)
            real.unlink()
            real.mkdir()
        case "nameless":
            real = _store(name, files)
            real.rename(real.with_name("aip.tar.gz"))
        case "losing":
            _store(name, {path: body for path, body in files.items() if not path.endswith("hello.txt")})
        case "flipping":
            real = _store(name, files)
            data = bytearray(real.read_bytes())
            data[len(data) // 2] ^= 1
            real.write_bytes(data)
        case "garbage":
            _store(name, files).write_bytes(b"no tar at all")
        case _:
            _store(name, files)
    return 0


def _store(name: str, files: dict[str, bytes]) -> Path:
    uuid = str(uuid4())
    payload = {path.removeprefix("objects/"): body for path, body in files.items() if path.startswith("objects/")}
    documentation = "metadata/submissionDocumentation/"
    extra = {path.removeprefix(documentation): body for path, body in files.items() if path.startswith(documentation)}
    made = make(name, uuid, payload, datetime(2026, 11, 24, 12, tzinfo=UTC), extra)
    place = Path(os.environ["A3M_SHARED_DIRECTORY"], "completed", *[uuid[n : n + 4] for n in (0, 4, 9, 14)], made.name)
    place.parent.mkdir(parents=True)
    place.write_bytes(made.data)
    return place
