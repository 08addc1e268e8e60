"""Whether the tape system that the settings name will work for us, and what to do where not (fts-cta.md 10.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from perdura.clients.tape import FtsTape, tape_system
from perdura.clients.tape_oauth import token_source
from perdura.clients.tape_sources import UNSAFE, may_presign
from perdura.clients.tape_x509 import Robot, load
from perdura.errors import Broken, PerduraError
from perdura.settings import Settings

WARN_DAYS = 30
TAPE_BY_TOKEN = (3, 14, 0)
"""The first FTS that takes jobs for tape by token (fts-cta.md 1.6)."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `verdict` is `ok`, `warning` or `failure`; `remedy` what to do about it."""

    subject: str
    verdict: str
    found: str
    remedy: str = ""


def check_robot(robot: Robot, now: datetime) -> Check:
    """How long a certificate lasts. That FTS can work with its key was seen when it was loaded."""
    days = robot.days_left(now)
    found = f"{robot.dn}, RSA {robot.key.key_size}, {days:.0f} days left"
    if days <= 0:
        return Check("tape certificate", "failure", found, "it has expired: import a new one under the same name")
    if days < WARN_DAYS:
        return Check("tape certificate", "warning", found, "ask for a new one under the same name: ids stay the same")
    return Check("tape certificate", "ok", found)


def check_offline(settings: Settings) -> Iterator[Check]:
    """What can be seen without asking anybody: certificate or token, key file, authorities."""
    try:
        token = token_source(settings)
        if token is None and settings.tape_certificate and settings.tape_key:
            yield check_robot(load(settings.tape_certificate, settings.tape_key), datetime.now(UTC))
            mode = Path(settings.tape_key).stat().st_mode & 0o077
            if mode:
                found = f"{settings.tape_key} may be read by others"
                yield Check("tape key", "warning", found, "chmod 600")
        elif token is None:
            yield Check("tape certificate", "failure", "neither a certificate nor a token", "see docs/tape.md")
    except (PerduraError, OSError) as error:
        message = error.message if isinstance(error, PerduraError) else str(error)
        yield Check("tape certificate", "failure", message, "perdura tape credentials import")
    if settings.tape_fts_url and settings.tape_gateway_url is None and not may_presign(settings):
        yield Check("tape sources", "failure", UNSAFE, "see docs/tape.md")
    if settings.tape_ca and not Path(settings.tape_ca).is_file():
        yield Check("tape authorities", "failure", f"{settings.tape_ca} is not there", "set PERDURA_TAPE_CA")


def check_online(settings: Settings) -> Iterator[Check]:
    """What FTS and the tape endpoint say of us: identity, delegation, Tape REST API."""
    try:
        tape = tape_system(settings)
    except PerduraError as error:
        yield Check("tape system", "failure", error.message, "see docs/tape.md")
        return
    if tape is None:
        return
    try:
        yield _asked("FTS", lambda: _identity(tape))
        yield _asked("FTS delegation", lambda: _delegation(tape))
        yield _asked("tape endpoint", lambda: f"WLCG Tape REST API at {tape.endpoint.api()}")
    finally:
        tape.close()


def _identity(tape: FtsTape) -> str:
    identity, version = tape.fts.identity(), tape.fts.versions()
    told = ".".join(map(str, version))
    if tape.by_token and version < TAPE_BY_TOKEN:
        message = f"FTS {told} takes no jobs for tape by token: use a certificate, or FTS 3.14 or later"
        raise Broken(message, code="fts-too-old-for-tokens")
    return f"{told} knows us as {identity.dn} by {identity.method}, VO {identity.vo}"


def _delegation(tape: FtsTape) -> str:
    ends = tape.renew().proxy_expires_at
    return "not needed with a token" if ends is None else f"a proxy until {ends:%Y-%m-%d %H:%M} UTC"


def _asked(subject: str, ask: Callable[[], str]) -> Check:
    try:
        return Check(subject, "ok", ask())
    except PerduraError as error:
        return Check(subject, "failure", error.message, f"error code {error.code}: see docs/errors.md")
