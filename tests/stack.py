"""A running stack as tests and benchmarks drive it: from outside, through its commands and URLs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import bagit
import httpx
from sqlalchemy import Engine, create_engine, text

from perdura.cloudevents.routes import ROUTES

Value = TypeVar("Value")
FINAL = frozenset({"completed", "completed_with_warnings", "failed", "rejected", "blocked", "cancelled"})
_ONE_AT_A_TIME = threading.Lock()  # bagit changes the working directory of the whole process
ORDINARY_ENVIRONMENT = ("PATH", "HOME", "LANG", "TMPDIR", "PERDURA_BROKER_MODE")
"""What a stack takes from the tests' own environment; the last says whose broker it runs behind (`make test-modes`)."""


@dataclass
class Stack:
    """One `perdura up` of its own home."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `perdura ARGUMENTS` on this home."""
        ordinary = {name: os.environ[name] for name in ORDINARY_ENVIRONMENT if name in os.environ}
        return subprocess.run(
            [sys.executable, "-m", "perdura.cli", "--home", str(self.home), *arguments],
            capture_output=True, text=True, timeout=timeout, env={**ordinary, **self.environment},
        )  # fmt: skip

    def up(self) -> None:
        """Start it; fails with what it said where it does not start."""
        done = self.command("up", "--detach")
        assert done.returncode == 0, done.stdout + done.stderr

    def down(self) -> None:
        """Stop it."""
        done = self.command("down")
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        """What `perdura status --json` says."""
        document: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
        return document

    @cached_property
    def urls(self) -> dict[str, str]:
        """Addresses of its parts; they stay the same when a part is restarted."""
        urls: dict[str, str] = self.status()["urls"]
        return urls

    @cached_property
    def token(self) -> str:
        """The administrator's token."""
        return self.command("token").stdout.strip()

    @cached_property
    def api(self) -> httpx.Client:
        """The REST API, as the administrator."""
        return httpx.Client(
            base_url=f"{self.urls['registry']}/api/v1",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=30,
        )

    @cached_property
    def database(self) -> Engine:
        """Its database, for counting what must be there once."""
        from perdura.local import postgres
        from perdura.local.state import open_home, remembered_ports

        home = open_home(self.home)
        server = f"127.0.0.1:{remembered_ports(home)[postgres.NAME]}"
        role = f"{postgres.ROLE}:{home.secret('database')}"
        return create_engine(f"postgresql+pg8000://{role}@{server}/{postgres.DATABASE}", pool_pre_ping=True)

    def pid(self, name: str) -> int:
        """The process of that name."""
        return next(int(process["pid"]) for process in self.status()["processes"] if process["name"] == name)

    def emissions(self) -> set[tuple[str, str]]:
        """What its functions say they emitted on being sent an event: (function, type)."""
        lines = [line for log in (self.home / "logs").glob("*.log") for line in log.read_text("utf-8").splitlines()]
        told = [json.loads(line) for line in lines if line.startswith("{") and '"emitted"' in line]
        return {(each["function"], event_type) for each in told for event_type in each["emitted"].split(", ")}

    def scalar(self, statement: str, **values: Any) -> Any:
        """One value out of the database."""
        with self.database.connect() as connection:
            return connection.execute(text(statement), values).scalar()

    @cached_property
    def s3(self) -> Any:
        """A client of its object store."""
        import boto3
        from botocore.config import Config

        from perdura.local import seaweedfs
        from perdura.local.state import open_home

        return boto3.client(
            "s3",
            endpoint_url=self.urls["s3"],
            aws_access_key_id=seaweedfs.ACCESS_KEY,
            aws_secret_access_key=open_home(self.home).secret("s3"),
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def objects(self, bucket: str) -> list[str]:
        """The keys of a bucket, one for each object that can be read now."""
        from botocore.exceptions import EndpointConnectionError

        def keys() -> list[str] | None:
            try:
                pages = list(self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket))
            except EndpointConnectionError:
                return None  # Killed a moment ago, and not there again yet.
            return [item["Key"] for page in pages for item in page.get("Contents", [])]

        return self.until(keys, 60)

    def deposit(self, content: bytes, filename: str = "bag.tar", **more: Any) -> str:
        """Announce, upload and complete one deposit; gives back the Archive's id."""
        announced = self.api.post("/deposits", json={"filename": filename, "size": len(content), **more})
        assert announced.status_code == 201, announced.text
        answer = announced.json()
        upload = httpx.put(answer["upload"]["url"], content=content, headers=answer["upload"].get("headers") or {})
        assert upload.is_success, upload.text
        completed = self.api.post(f"/deposits/{answer['id']}/complete")
        assert completed.status_code == 202, completed.text
        return str(answer["archive"])

    def archive(self, archive: str) -> dict[str, Any]:
        """One Archive as the API shows it."""
        document: dict[str, Any] = self.api.get(f"/archives/{archive}").raise_for_status().json()
        return document

    def steps(self, archive: str) -> list[dict[str, Any]]:
        """The steps of an Archive."""
        items: list[dict[str, Any]] = self.api.get(f"/archives/{archive}/steps").raise_for_status().json()["items"]
        return items

    def finished(self, archive: str, timeout: float = 90, every: float = 0.05) -> dict[str, Any]:
        """Wait until an Archive is done, looking `every` so many seconds; fails with its timeline in the end."""
        explain = lambda: json.dumps(self.steps(archive), indent=1)  # noqa: E731
        return self.until(lambda: self._done(archive), timeout, explain, every)

    def _done(self, archive: str) -> dict[str, Any] | None:
        try:
            document = self.archive(archive)
        except httpx.HTTPError:
            return None
        return document if document["state"] in FINAL else None

    @staticmethod
    def until(
        look: Callable[[], Value | None],
        timeout: float,
        explain: Callable[[], str] = lambda: "",
        every: float = 0.05,
    ) -> Value:
        """The first thing `look` finds that is not None."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = look()
            if found is not None:
                return found
            time.sleep(every)
        raise AssertionError(f"nothing happened in {timeout} s\n{explain()}")


@contextmanager
def running_stack(environment: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A stack of its own home, stopped and removed at the end; its functions emitted what is written of them only."""
    with TemporaryDirectory(prefix="perdura-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Path(folder) / "home", environment or {})
        stack.up()
        try:
            yield stack
        finally:
            if "database" in vars(stack):
                stack.database.dispose()
            if "api" in vars(stack):
                stack.api.close()
            stack.down()
        assert {each for each in stack.emissions() if each[0] not in ROUTES[each[1]].emitters} == set()


def bag_tar(files: Mapping[str, bytes], *, root: str = "bag", bag_info: Mapping[str, str] | None = None) -> bytes:
    """A tar of a bag that the Library of Congress' tool made of these files."""
    with TemporaryDirectory(prefix="perdura-bag-") as folder:
        base = Path(folder) / root
        for name, content in files.items():
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_bytes(content)
        with _ONE_AT_A_TIME:
            bagit.make_bag(str(base), dict(bag_info or {}), checksums=["sha256", "sha512"])
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(base, root)
    return buffer.getvalue()
