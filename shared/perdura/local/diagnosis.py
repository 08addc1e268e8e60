"""Whether this machine can run a local stack: one check per thing that can be wrong, each with what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from perdura.accounts.principals import Role
from perdura.errors import Broken, PerduraError
from perdura.local import assets, ports, postgres, seaweedfs
from perdura.local.plan import TAPE_NAMES
from perdura.local.state import LONGEST_SOCKET_NAME, SOCKET_PATH_LIMIT, open_home, remembered_ports
from perdura.local.status import ProcessState, StackState, read_status
from perdura.settings import Settings

NEEDED_DISK = 2 * 2**30
NEEDED_MEMORY = 3 * 2**30


class Level(StrEnum):
    """How bad a finding is: `warning` does without something, `failure` keeps the stack from running."""

    FINE = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of one check: what was looked at, what was found, and what to do where it is not fine."""

    level: Level
    subject: str
    found: str
    remedy: str = ""


def diagnose(root: Path, environ: Mapping[str, str] = os.environ) -> list[Diagnosis]:
    """Every check for a stack on the home `root`; never raises for what it finds."""
    checks: list[Callable[[], Diagnosis]] = [
        _python,
        _platform,
        lambda: _home(root),
        lambda: _room(root),
        _memory,
        lambda: _sockets(root),
        lambda: _database(environ),
        lambda: _database_user(environ),
        lambda: _object_store(environ),
        _functions,
        _identification,
        lambda: _scanner(environ),
        lambda: _sign_in(environ),
        lambda: _strangers(environ),
        lambda: _running(root),
    ]
    return [*(check() for check in checks), *_tape(environ)]


def _python() -> Diagnosis:
    return Diagnosis(Level.FINE, "Python", f"{platform.python_version()} in {sys.prefix}")


def _platform() -> Diagnosis:
    found = f"{platform.system()} {platform.machine()}"
    if platform.system() != "Linux":
        return Diagnosis(Level.FAILURE, "platform", found, "the local stack runs on Linux; use a container elsewhere")
    return Diagnosis(Level.FINE, "platform", found)


def _home(root: Path) -> Diagnosis:
    if not root.exists():
        return Diagnosis(Level.FINE, "state directory", f"{root} (will be made)")
    try:
        open_home(root)
    except Broken as error:
        return Diagnosis(Level.FAILURE, "state directory", error.message, "choose another --home")
    return Diagnosis(Level.FINE, "state directory", str(root))


def _room(root: Path) -> Diagnosis:
    place = next(path for path in (root, *root.parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / 2**30:.1f} GiB free at {place}"
    if free < NEEDED_DISK:
        return Diagnosis(Level.FAILURE, "disk", found, "the object store stops writing on a full disk; make room")
    return Diagnosis(Level.FINE, "disk", found)


def _memory() -> Diagnosis:
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = f"{available / 2**30:.1f} GiB"
    if available < NEEDED_MEMORY:
        return Diagnosis(Level.WARNING, "memory", found, "3 GiB are comfortable")
    return Diagnosis(Level.FINE, "memory", found)


def _sockets(root: Path) -> Diagnosis:
    length = len(os.fsencode(root / "run")) + LONGEST_SOCKET_NAME
    if length > SOCKET_PATH_LIMIT:
        found = f"{root} is too long for Unix sockets"
        return Diagnosis(Level.WARNING, "sockets", found, "they will lie in the temporary folder")
    return Diagnosis(Level.FINE, "sockets", f"in {root / 'run'}")


def _database(environ: Mapping[str, str]) -> Diagnosis:
    if "PERDURA_DATABASE_URL" in environ:
        return Diagnosis(Level.FINE, "database", "an existing one (PERDURA_DATABASE_URL)")
    try:
        binaries = postgres.find_binaries(environ)
    except Broken as error:
        return Diagnosis(Level.FAILURE, "database", error.message, "pip install 'perdura[local]'")
    return Diagnosis(Level.FINE, "database", f"PostgreSQL {binaries.major} in {binaries.folder}")


def _database_user(environ: Mapping[str, str]) -> Diagnosis:
    if "PERDURA_DATABASE_URL" in environ:
        return Diagnosis(Level.FINE, "database user", "not ours to choose")
    try:
        prefix = postgres.as_another_user()
    except Broken as error:
        return Diagnosis(Level.FAILURE, "database user", error.message, "run as an ordinary user")
    words = {(): "the user who runs this", "unshare": "root's user namespace", "setpriv": "nobody"}
    found = words[prefix[0]] if prefix else words[()]
    return Diagnosis(Level.FINE, "database user", found)


def _object_store(environ: Mapping[str, str]) -> Diagnosis:
    if "PERDURA_S3_ENDPOINT" in environ:
        return Diagnosis(Level.FINE, "object store", f"an existing one ({environ['PERDURA_S3_ENDPOINT']})")
    try:
        binary = seaweedfs.find_binary(environ)
    except Broken as error:
        return Diagnosis(Level.FAILURE, "object store", error.message, "pip install 'perdura[local]'")
    return Diagnosis(Level.FINE, "object store", f"SeaweedFS, {binary}")


def _functions() -> Diagnosis:
    try:
        names = assets.functions(assets.functions_folder())
    except Broken as error:
        return Diagnosis(Level.FAILURE, "functions", error.message, "install Perdura again")
    return Diagnosis(Level.FINE, "functions", ", ".join(names))


def _identification() -> Diagnosis:
    # Only looked for: importing it would start its Go runtime here.
    if find_spec("pygfried") is None:
        return Diagnosis(Level.FAILURE, "format identification", "pygfried is not installed", "pip install pygfried")
    return Diagnosis(Level.FINE, "format identification", "pygfried (PRONOM)")


def _scanner(environ: Mapping[str, str]) -> Diagnosis:
    if address := environ.get("PERDURA_CLAMD"):
        return Diagnosis(Level.FINE, "virus scanner", f"clamd at {address}")
    found = "none configured; packages are kept unscanned and their events say so"
    return Diagnosis(Level.WARNING, "virus scanner", found, "run clamd and set PERDURA_CLAMD")


def _sign_in(environ: Mapping[str, str]) -> Diagnosis:
    """The identity provider, where one is configured: whether it answers as itself, and somebody can administer."""
    if not environ.get("PERDURA_OIDC_ISSUER"):
        return Diagnosis(Level.FINE, "sign-in", "the administrator's token")
    from perdura.accounts.claims import groups_with
    from perdura.clients import oidc

    configuration = Settings()  # type: ignore[call-arg]
    try:
        administrators = groups_with(Role.ADMINISTRATOR, configuration.oidc_roles)
        issuer = oidc.provider(configuration).metadata().issuer
    except PerduraError as error:
        return Diagnosis(Level.FAILURE, "sign-in", error.message, "correct the PERDURA_OIDC_ settings")
    if not administrators:
        remedy = "add a line administrator=<group> to PERDURA_OIDC_ROLES"
        return Diagnosis(Level.WARNING, "sign-in", f"{issuer}; no group makes anybody an administrator", remedy)
    return Diagnosis(Level.FINE, "sign-in", f"{issuer}; administrators: {', '.join(sorted(administrators))}")


def _strangers(environ: Mapping[str, str]) -> Diagnosis:
    """Whether the function that is deployed here takes CloudEvents of anybody: Knative's network lets nobody in."""
    subject, function = "events of strangers", environ.get("FUNCTION")
    if function is None:
        return Diagnosis(Level.FINE, subject, "no function is deployed here")
    if environ.get("PERDURA_TAKES_EVENTS", "true").lower() in {"false", "0", "no", "off"}:
        return Diagnosis(Level.FINE, subject, f"{function} takes no events")
    if environ.get("PERDURA_EVENTS_TOKEN"):
        return Diagnosis(Level.FINE, subject, f"{function} takes events with the token only")
    if "K_SERVICE" in environ:
        return Diagnosis(Level.FINE, subject, f"{function} is reached within the cluster only (Knative)")
    remedy = "set PERDURA_EVENTS_TOKEN here and at the broker; on OpenFaaS give it the secret perdura-events-token"
    return Diagnosis(Level.WARNING, subject, f"{function} takes events of everybody who reaches it", remedy)


def _tape(environ: Mapping[str, str]) -> list[Diagnosis]:
    """The tape system, where an existing one is named: credentials, what FTS says of us, the Tape REST API."""
    if not any(name in environ for name in TAPE_NAMES):
        return [Diagnosis(Level.FINE, "tape", "the local tape library")]
    from perdura.clients.tape_checks import check_offline, check_online

    levels = {"ok": Level.FINE, "warning": Level.WARNING, "failure": Level.FAILURE}
    configuration = Settings()  # type: ignore[call-arg]
    return [
        Diagnosis(levels[check.verdict], check.subject, check.found, check.remedy)
        for check in (*check_offline(configuration), *check_online(configuration))
    ]


def _running(root: Path) -> Diagnosis:
    if not root.exists():
        return Diagnosis(Level.FINE, "stack", "not started")
    try:
        status = read_status(open_home(root))
        known = remembered_ports(open_home(root))
    except Broken as error:
        return Diagnosis(Level.FAILURE, "stack", error.message, "see the message")
    if not status.supervised:
        taken = sorted(name for name, port in known.items() if not ports.is_free(port))
        if taken:
            found = f"ports taken by others: {', '.join(taken)}"
            return Diagnosis(Level.WARNING, "stack", found, "other ports will be chosen at the next start")
        return Diagnosis(Level.FINE, "stack", "not running")
    unwell = [process.name for process in status.processes if process.state is not ProcessState.RUNNING]
    if status.state is not StackState.RUNNING:
        found = f"{status.state}: {', '.join(unwell)}"
        return Diagnosis(Level.WARNING, "stack", found, "perdura logs NAME shows why")
    return Diagnosis(Level.FINE, "stack", f"running, {len(status.processes)} processes")
