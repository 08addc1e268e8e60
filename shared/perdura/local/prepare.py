"""Makes started services usable: `python -m perdura.local.prepare`, a process that ends when all is done.

Ready means that something was written and read back, not that a port is open: SeaweedFS answers before it can write
(embedded-services.md 2.2). Input comes by environment: `PERDURA_*` settings, `PREPARE` (JSON, `Task`),
`PREPARE_REPORT` (a file descriptor). Output there: a line of JSON per finished part, `{"done": "database"}`, or
`{"failed": "…"}`.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from perdura.errors import Broken, PerduraError
from perdura.local import postgres, seaweedfs
from perdura.settings import Settings, settings

READY_BUCKET = "perdura-ready"
READY_SECONDS = 45.0


class Task(BaseModel):
    """What this machine's own services need; both None where existing ones are used."""

    postgres_port: int | None = None
    superuser_password: str | None = None
    role_password: str | None = None
    functions_password: str | None = None
    weed: str | None = None
    weed_port: int | None = None
    weed_folder: Path | None = None


def main() -> int:
    """Prepare database and store side by side; 0 when both are usable."""
    task = Task.model_validate_json(os.environ.pop("PREPARE"))
    with ThreadPoolExecutor(2) as pool:
        parts = [pool.submit(_database, task), pool.submit(_store, task)]
        failures = [str(error) for part in parts if (error := part.exception()) is not None]
        for part in parts:
            if (error := part.exception()) is not None and not isinstance(error, PerduraError):
                raise error
    if failures:
        _say({"failed": "; ".join(failures)})
    return 1 if failures else 0


def _database(task: Task) -> None:
    from perdura.registry.migrate import bring_up

    if task.postgres_port is not None:
        _wait(lambda: _role_and_database(task), "PostgreSQL")
    _say({"done": "database"})
    bring_up(settings())
    _say({"done": "migrations"})


def _role_and_database(task: Task) -> None:
    """Log in, make the roles and the database where absent, and keep the roles' passwords as ours.

    One role owns the tables; the functions log in as another, which has the rights of the application.
    """
    import pg8000.native

    from perdura.premis.schema import APPLICATION_ROLE

    connection = pg8000.native.Connection(
        user=postgres.SUPERUSER,
        password=task.superuser_password,
        host="127.0.0.1",
        port=task.postgres_port,
        database="postgres",
        timeout=20,
    )
    try:
        secret = pg8000.native.literal
        for role, rights in (
            (APPLICATION_ROLE, "NOLOGIN"),
            (postgres.ROLE, f"LOGIN PASSWORD {secret(task.role_password)}"),
            (postgres.FUNCTIONS_ROLE, f"LOGIN PASSWORD {secret(task.functions_password)}"),
        ):
            known = connection.run("SELECT 1 FROM pg_roles WHERE rolname = :role", role=role)
            connection.run(f"{'ALTER' if known else 'CREATE'} ROLE {role} {rights}")
        connection.run(f"GRANT {APPLICATION_ROLE} TO {postgres.FUNCTIONS_ROLE}")
        if not connection.run("SELECT 1 FROM pg_database WHERE datname = :name", name=postgres.DATABASE):
            connection.run(f"CREATE DATABASE {postgres.DATABASE} OWNER {postgres.ROLE} TEMPLATE template0")
    finally:
        connection.close()


def _store(task: Task) -> None:
    from perdura.storage.buckets import create

    configuration = settings()
    if task.weed_port is not None:
        client = _client(configuration)
        _wait(lambda: _write_and_read(client), "the object store")
        _refuse_open_store(configuration)
        if task.weed is not None and task.weed_folder is not None:
            marker = task.weed_folder / "conf" / "fsync"
            if not marker.exists():
                seaweedfs.sync_every_object(task.weed, task.weed_port, task.weed_folder)
                marker.touch(mode=0o600)
    _say({"done": "store"})
    create(configuration)
    _say({"done": "buckets"})


def _client(configuration: Settings) -> Any:
    import boto3
    from botocore.config import Config

    secret = configuration.s3_secret_key
    return boto3.session.Session().client(
        "s3",
        endpoint_url=configuration.s3_endpoint,
        aws_access_key_id=configuration.s3_access_key,
        aws_secret_access_key=secret.get_secret_value() if secret is not None else None,
        region_name=configuration.s3_region,
        config=Config(
            s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10
        ),
    )


def _write_and_read(client: Any) -> None:
    """Store an object of this moment and read it back; raises while the store is not ready."""
    content = f"{time.time_ns()}".encode()
    with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        client.create_bucket(Bucket=READY_BUCKET)
    client.put_object(Bucket=READY_BUCKET, Key="ready", Body=content)
    if client.get_object(Bucket=READY_BUCKET, Key="ready")["Body"].read() != content:
        raise Broken("the object store gave back something else than was written")


def _refuse_open_store(configuration: Settings) -> None:
    """An anonymous write must be refused with 403; a store open to everybody is not used."""
    url = f"{configuration.s3_endpoint}/{READY_BUCKET}/anonymous"
    request = urllib.request.Request(url, data=b"x", method="PUT")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    if status != 403:
        raise Broken(f"the object store answers an anonymous write with {status} instead of 403; not used")


def _wait(attempt: Callable[[], None], what: str) -> None:
    """Try until it works; raises Broken with the last reason after 45 seconds."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            attempt()
        except Exception as error:
            if isinstance(error, Broken) or time.monotonic() > deadline:
                raise Broken(f"{what} is not usable: {type(error).__name__}: {error}") from error
            time.sleep(0.05)
        else:
            return


def _say(line: dict[str, str]) -> None:
    os.write(int(os.environ["PREPARE_REPORT"]), f"{json.dumps(line)}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
