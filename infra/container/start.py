"""What the container runs: `serve` (default), `once` for a Knative JobSink, `migrate`, `broker …`, `doctor`.

Secrets that OpenFaaS mounts as files become environment variables: `perdura-s3-access-key` is
`PERDURA_S3_ACCESS_KEY`.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

TRY_AGAIN = 75
"""Exit code EX_TEMPFAIL: the Job is worth another attempt."""

SECRETS = Path("/var/openfaas/secrets")


def read_secrets(folder: Path = SECRETS) -> None:
    """Set the variables of the secrets that are mounted, where they are not set already."""
    if folder.is_dir():
        for file in folder.iterdir():
            if file.is_file() and not file.name.startswith("."):
                os.environ.setdefault(file.name.upper().replace("-", "_"), file.read_text("utf-8").strip())


def serve() -> None:
    """Become gunicorn with the function that `FUNCTION` names.

    Raises SystemExit on OpenFaaS where everybody could send it events.
    """
    if SECRETS.is_dir() and not os.environ.get("PERDURA_EVENTS_TOKEN"):
        raise SystemExit("OpenFaaS' gateway lets everybody in: give this function the secret perdura-events-token")
    folder = str(Path(__file__).parent)
    command = ["gunicorn", "-c", "python:perdura.runtime.server", "--chdir", folder, "application:create()"]
    os.execvp(command[0], command)  # noqa: S606  one process, which gets the signals


def once() -> int:
    """Hand the event that a JobSink mounted to the function; its answer decides the exit code.

    It is observed as a served function is, and tells what it has to tell before it ends.
    """
    from application import create, credential
    from werkzeug.test import Client

    from perdura.runtime import observation

    shown = {"Authorization": credential()}
    event = Path(os.environ["K_EVENT_PATH"]).read_bytes()
    observation.observe()
    try:
        client = Client(create())
        with client.post("/", data=event, content_type="application/cloudevents+json", headers=shown) as response:
            status = response.status_code
        logging.getLogger("perdura.job").info("the function answered %d", status)
    finally:
        observation.end()
    if 200 <= status < 300:
        return 0
    return TRY_AGAIN if status in (404, 408, 409, 429) or status >= 500 else 1


def migrate() -> int:
    """Bring the database to the schema of this image, and make that of the broker where it has a role to itself."""
    from perdura.local.broker.postgres import prepare
    from perdura.registry.migrate import bring_up
    from perdura.settings import settings

    bring_up(settings())
    prepare((settings().database_owner_url or settings().database_url).get_secret_value())
    return 0


def main(arguments: list[str]) -> int:
    """Do what the first argument says."""
    read_secrets()
    match arguments or ["serve"]:
        case ["serve"]:
            serve()
        case ["once"]:
            return once()
        case ["migrate"]:
            return migrate()
        case ["broker", *rest]:
            os.execvp("perdura", ["perdura", "broker", "serve", *rest])  # noqa: S606
        case ["doctor", *rest]:
            os.execvp("perdura", ["perdura", "doctor", *rest])  # noqa: S606
    print("usage: start.py [serve | once | migrate | broker OPTIONS | doctor OPTIONS]", file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
