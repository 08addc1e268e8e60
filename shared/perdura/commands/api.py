"""The registry that a command speaks to: the one that is named, else that of the local stack."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from perdura.client import Client
from perdura.commands.failures import Unusable
from perdura.errors import PerduraError

URL_VARIABLE = "PERDURA_URL"
TOKEN_VARIABLE = "PERDURA_TOKEN"  # noqa: S105 - a name
AGENT = "perdura-cli"


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--url` and `--token`, and as its first argument the registry that they name."""

    @click.option("--url", envvar=URL_VARIABLE, help="URL of the registry. Default: the local stack.")
    @click.option("--token", envvar=TOKEN_VARIABLE, help="Bearer token. Default: that of the local stack.")
    @click.pass_obj
    @wraps(command)
    def with_registry(root: Path, /, *, url: str | None, token: str | None, **given: Any) -> None:
        with connect(root, url, token) as registry:
            command(registry, **given)

    return with_registry


def connect(root: Path, url: str | None, token: str | None) -> Client:
    """The API at `url`, else that of the stack that runs on this home. Raises Unusable where there is none.

    The local administrator's token is used for the local stack only.
    """
    if url is not None:
        return Client(url, token, agent=AGENT)
    if not root.is_dir():
        raise Unusable(f"no stack in {root}: start one (perdura up) or name a registry (--url or {URL_VARIABLE})")
    from perdura.local.state import open_home
    from perdura.local.status import read_status

    try:
        home = open_home(root)
        status = read_status(home)
    except PerduraError as error:
        raise Unusable(error.message) from error
    if "registry" not in status.urls:
        raise Unusable(f"the stack of {root} does not run: start it (perdura up)")
    own = token or os.environ.get("PERDURA_ADMIN_TOKEN") or home.known_secret("admin-token")
    return Client(status.urls["registry"], own, agent=AGENT)
