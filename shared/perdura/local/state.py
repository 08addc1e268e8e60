"""The state directory of a local stack: one folder holds data, logs, secrets, ports and what is running.

<home>/state.json     ports and the folder for sockets, remembered for the next start (0600)
<home>/status.json    what runs now, written by the supervisor
<home>/lock           held while a supervisor lives
<home>/secrets/       one generated secret per file (0600)
<home>/data/, logs/   one folder, one log per process
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from perdura.errors import Broken

VERSION = 1
SOCKET_PATH_LIMIT = 107
"""Bytes of a Unix socket's path on Linux (`sun_path`, without the final NUL)."""
LONGEST_SOCKET_NAME = len("/.s.PGSQL.65535.lock")


@dataclass(frozen=True, slots=True)
class Home:
    """The state directory; `open_home` makes and checks it."""

    root: Path

    @property
    def logs(self) -> Path:
        """Folder of the logs, `<process>.log` each."""
        return self.root / "logs"

    @property
    def state_file(self) -> Path:
        """What is remembered between starts."""
        return self.root / "state.json"

    @property
    def status_file(self) -> Path:
        """What runs now."""
        return self.root / "status.json"

    def data(self, name: str) -> Path:
        """Folder of one process's own data, made when first asked for."""
        folder = self.root / "data" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def log(self, name: str) -> Path:
        """Log file of one process."""
        return self.logs / f"{name}.log"

    def secret(self, name: str) -> str:
        """The secret of that name, generated at the first call (URL-safe, 32 random bytes)."""
        path = self.root / "secrets" / name
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32))
        return path.read_text(encoding="ascii").strip()

    def seed(self, name: str) -> str:
        """The secret of that name as a key seed: base64 of exactly 32 bytes."""
        return base64.b64encode(hashlib.sha256(self.secret(name).encode("ascii")).digest()).decode("ascii")

    def known_secret(self, name: str) -> str | None:
        """The secret of that name if there is one already."""
        path = self.root / "secrets" / name
        return path.read_text(encoding="ascii").strip() if path.exists() else None


def open_home(root: Path) -> Home:
    """The state directory at `root`, made with mode 0700 where absent.

    Raises Broken where it belongs to somebody else or was written by a newer version.
    """
    root = root.absolute()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = root.stat().st_uid
        if owner != os.geteuid():
            raise Broken(f"{root} belongs to user {owner}; run as that user or choose another --home")
        root.chmod(0o700)
        for name in ("logs", "secrets", "data"):
            (root / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Broken(f"{root} cannot be used as state directory: {error.strerror}") from error
    home = Home(root)
    found = read_json(home.state_file).get("version", VERSION)
    if found > VERSION:
        raise Broken(f"{root} was written by a newer Perdura (state version {found}, this one knows {VERSION})")
    return home


def remember(home: Home, ports: Mapping[str, int], sockets: Path) -> None:
    """Write down the ports and the folder for sockets."""
    document = {"version": VERSION, "ports": dict(sorted(ports.items())), "sockets": str(sockets)}
    write_private(home.state_file, json.dumps(document, indent=2))


def remembered_ports(home: Home) -> dict[str, int]:
    """The ports of the last start."""
    ports = read_json(home.state_file).get("ports", {})
    return {str(name): int(port) for name, port in ports.items()}


def socket_folder(home: Home) -> Path:
    """A folder of mode 0700 whose sockets' paths fit into 107 bytes.

    `<home>/run` where that is short enough, else one of our own below the temporary folder, remembered. Raises
    Broken where a remembered folder now belongs to somebody else.
    """
    inside = home.root / "run"
    if len(os.fsencode(inside)) + LONGEST_SOCKET_NAME <= SOCKET_PATH_LIMIT:
        inside.mkdir(mode=0o700, exist_ok=True)
        return inside
    known = read_json(home.state_file).get("sockets")
    if known is None or not Path(known).is_dir():
        return Path(tempfile.mkdtemp(prefix="perdura-"))
    folder = Path(known)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise Broken(f"{folder} (for sockets) belongs to somebody else")
    return folder


class Lock:
    """The right to run a stack on a home; the kernel gives it back when its holder dies."""

    def __init__(self, home: Home) -> None:
        self._path = home.root / "lock"
        self._file: TextIO | None = None

    def acquire(self) -> bool:
        """Take the lock; False where another process holds it."""
        self._path.touch(mode=0o600)
        file = self._path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()


def write_private(path: Path, text: str) -> None:
    """Replace a file at once and as a whole, with mode 0600."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of ours; empty where there is no file. Raises Broken where it is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Broken(f"{path} is damaged: {error}; remove it to choose ports anew") from error
    if not isinstance(document, dict):
        raise Broken(f"{path} is damaged: not a JSON object")
    return document
