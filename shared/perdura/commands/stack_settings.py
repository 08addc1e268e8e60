"""The settings under which commands speak to database and store themselves: those of the local stack where one is."""

from __future__ import annotations

import json
from pathlib import Path

from perdura.errors import Broken
from perdura.local import postgres, seaweedfs
from perdura.local.state import open_home
from perdura.settings import Settings, settings


def stack_settings(root: Path) -> Settings:
    """Settings of this process, with the database, store and signing key of the stack in `root` where one was started.

    What the environment names wins. Raises Broken where the state of the stack cannot be read.
    """
    state = root / "state.json"
    if not state.is_file():
        return settings()
    home = open_home(root)
    try:
        ports = json.loads(state.read_text("utf-8"))["ports"]
    except (OSError, ValueError, KeyError) as error:
        raise Broken(f"{state} cannot be read") from error
    told = settings().model_fields_set
    own: dict[str, object] = {}
    if postgres.NAME in ports and "database_url" not in told:
        server = f"127.0.0.1:{ports[postgres.NAME]}/{postgres.DATABASE}"
        own["database_url"] = f"postgresql+pg8000://{postgres.ROLE}:{home.secret('database')}@{server}"
    if seaweedfs.NAME in ports and "s3_endpoint" not in told:
        own["s3_endpoint"] = f"http://127.0.0.1:{ports[seaweedfs.NAME]}"
        own["s3_access_key"], own["s3_secret_key"] = seaweedfs.ACCESS_KEY, home.secret("s3")
    if "log_signing_keys" not in told:
        own["log_signing_keys"] = home.seed("log-signing-key")
    return Settings(**{**settings().model_dump(include=told), **own})
