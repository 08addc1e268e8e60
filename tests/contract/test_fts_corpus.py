"""The FTS emulator answers as FTS REST 3.13.4 did: recorded exchanges are replayed (data/fts-rest).

The records say which submissions and daemon steps precede a request; those are applied through the same code that the
emulator's own daemons use. Statuses, content types and all values are compared, except those the corpus calls volatile.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from perdura.local.tape.faults import Faults
from perdura.local.tape.fts.identity import ANONYMOUS, Identity, from_dn, from_token
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.problems import html
from perdura.local.tape.fts.service import Service
from perdura.local.tape.fts.stepping import step as step_of
from perdura.local.tape.fts.storage import Storages
from perdura.local.tape.http import Request, Response, split_target
from tests.shared_data import SHARED
from tests.unit.tape.pki import rsa_key

Record = dict[str, Any]

DNS = {
    "robot": "/DC=ch/DC=test/OU=Organic Units/OU=Users/CN=dmrobot/CN=000001/CN=Robot: Digital Memory",
    "user2": "/DC=ch/DC=test/OU=Users/CN=someone else",
    "op": "/DC=ch/DC=test/OU=Users/CN=fts operator",
    "carol": "/DC=ch/DC=test/OU=Users/CN=banned user",
    "dave": "/DC=ch/DC=test/OU=Users/CN=delegation tester",
    "host": "/DC=ch/DC=test/OU=computers/CN=localhost",
}
VOLATILE = frozenset({
    "job_id", "file_id", "hashed_id", "pid", "start_time", "finish_time", "archive_start_time", "archive_finish_time",
    "submit_time", "job_finished", "datetime", "addition_time", "staging_start", "staging_finished",
    "termination_time", "max_time_in_queue", "log_file", "submit_host", "src_token_id", "dst_token_id",
})  # fmt: skip
TOPICS = (
    "identity", "delegation", "submit", "submit-errors", "read", "list", "walk-archive", "walk-failures",
    "walk-staging", "cancel", "modify", "retention", "admin", "token",
)  # fmt: skip
RECORDED = datetime(2026, 11, 21, 22, 11, 17, tzinfo=UTC)
"""When the proxies of the corpus were made."""
DAVE = rsa_key(7)
"""The key of the user who delegates: that of the recording is not in the corpus, nor are the server's."""
OTHER_KEY = "delegation/credential-wrong-key-pair"
SECONDS = re.compile(r"\d+ seconds")


@cache
def records(topic: str) -> list[Record]:
    if SHARED is None:
        return []
    lines = (SHARED / "reference" / "data" / "fts-rest" / f"{topic}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


ISSUER = "http://localhost:18815/"
SCOPES = ("fts", "offline_access", "openid", "storage.modify:/", "storage.read:/")


INVALID_TOKENS = frozenset({
    "token/whoami-malformed", "token/whoami-not-a-jwt", "token/whoami-expired", "token/whoami-wrong-audience",
    "token/whoami-bad-signature",
})  # fmt: skip
"""Whether a token is valid is decided before the service: here by the names of the records."""


class Replay:
    """One emulated server that is led through the records of a topic."""

    def __init__(self, state: Path) -> None:
        self.ledger = Ledger(state / "fts.sqlite")
        self.faults = state / "faults.json"
        self.service = Service(self.ledger, Faults(self.faults), self.who, Storages(lambda _: {}), api=(3, 13, 4))
        self.asking, self.record, self.oauth2 = "robot", "", False
        self.ids: dict[str, str] = {}
        self.applied: dict[str, list[Record]] = defaultdict(list)
        for user in ("robot", "user2", "op", "carol"):
            self.ledger.keep_note("proxy", DNS[user], {"expires": time.time() + 48 * 3600})

    def who(self, asked: Request) -> Identity | Response:
        if self.asking == "anon":
            return ANONYMOUS
        if self.asking == "token" and self.oauth2:
            vo = "localhost" if self.record == "token/whoami-no-groups" else "dm"
            known = from_token("dm-robot", ISSUER, (vo,), SCOPES, token="a")
            return ANONYMOUS if self.record in INVALID_TOKENS else known
        if self.asking == "token":
            return html(400, "Unsupported authentication method: method=OAuth2")
        return from_dn(
            DNS[self.asking], host_dn=DNS["host"], certificate="-----BEGIN CERTIFICATE-----", config=self.asking == "op"
        )

    def ask(self, user: str, request: Record) -> Response:
        self.asking = user
        path, query = split_target(self.ours(request["path"]))
        body = json.dumps(request["json"]).encode() if "json" in request else self.signed(request.get("text", ""))
        headers = {name.lower(): value for name, value in request.get("headers", {}).items()}
        if "json" in request:
            headers.setdefault("content-type", "application/json")
        headers.setdefault("host", "localhost")
        return self.service.handle(Request(request["method"], path, query, headers, stream=lambda: iter([body])))

    def signed(self, sent: str) -> bytes:
        """What was sent; proxies and their chains as recorded, but made for the keys of this server and this user."""
        if "BEGIN CERTIFICATE" not in sent:
            return sent.encode()
        asked = self.ledger.note("signing-request", DNS[self.asking])
        assert asked is not None
        ours = x509.load_pem_x509_csr(asked["request"].encode()).public_key()
        if self.record == OTHER_KEY:
            ours = rsa_key(8).public_key()
        keys = [ours, DAVE.public_key()]
        recorded = x509.load_pem_x509_certificates(sent.encode())
        return b"".join(resigned(each, key) for each, key in zip(recorded, keys, strict=False))

    def ours(self, path: str) -> str:
        for theirs, mine in self.ids.items():
            path = path.replace(theirs, mine)
        return re.sub(r"(?<=/files/)[\d,]+", lambda match: self._file_ids(path, match[0]), path)

    def _file_ids(self, path: str, wanted: str) -> str:
        job_id = path.split("/")[2]
        first = FIRST_FILES.get(next((t for t, m in self.ids.items() if m == job_id), job_id))
        mine = [file["file_id"] for file in self.ledger.files(job_id)]
        if first is None or not mine:
            return wanted
        shifted = [int(each) - first for each in wanted.split(",")]
        return ",".join(str(mine[n]) if 0 <= n < len(mine) else "1" for n in shifted)

    def prepare(self, given: list[Record]) -> None:
        by_job: dict[str, list[Record]] = defaultdict(list)
        for step in given:
            job_id = step.get("job_id") or re.split(r"[/,]", step["path"])[2]
            by_job[job_id].append(step)
        for job_id, steps in by_job.items():
            done = self.applied[job_id]
            for step in steps[len(done) :]:
                self._apply(job_id, step)
                done.append(step)

    def _apply(self, job_id: str, step: Record) -> None:
        if step["op"] == "submit":
            answer = self.ask(step["as"], {"method": "POST", "path": "/jobs", "json": step["json"]})
            assert answer.status == 200, answer.body
            self.ids[job_id] = json.loads(bytes(answer.body))["job_id"]  # type: ignore[arg-type]
        elif step["op"] == "request":
            self.ask(step["as"], step)
        else:
            self._daemon(self.ids[job_id], step)

    def _daemon(self, job_id: str, step: Record) -> None:
        if step["event"] == "clean":
            self.ledger.clean(job_id)
            return
        job, files = self.ledger.job(job_id), self.ledger.files(job_id)
        assert job is not None
        retry = step_of(job, files, step)
        self.ledger.store(job, files)
        if retry is not None:
            self.ledger.add_retry(retry)

    def answered(self, record: Record, answer: Response) -> None:
        """Note what the request itself did, for the records that follow."""
        request = record["request"]
        if (
            record["response"]["status"] == 200
            and request["method"] in ("POST", "PUT")
            and "job_id" in str(answer.body)
        ):
            told = record["response"].get("json")
            if request["path"].lstrip("/") == "jobs" and isinstance(told, dict):
                self.ids[told["job_id"]] = json.loads(bytes(answer.body))["job_id"]  # type: ignore[arg-type]
                self.applied[told["job_id"]].append({"op": "submit"})
        elif request["path"].startswith("/jobs/") and request["method"] != "GET":
            for job_id in re.split(r"[/,]", request["path"].partition("/files")[0])[2:]:
                if job_id in self.ids:
                    self.applied[job_id].append({"op": "request"})


def resigned(recorded: x509.Certificate, key: Any) -> bytes:
    """A certificate as recorded, as far from its end as it was then, for another key."""
    passed = datetime.now(UTC) - RECORDED
    made = (
        x509.CertificateBuilder()
        .subject_name(recorded.subject)
        .issuer_name(recorded.issuer)
        .public_key(key)
        .serial_number(recorded.serial_number)
        .not_valid_before(recorded.not_valid_before_utc + passed)
        .not_valid_after(recorded.not_valid_after_utc + passed)
    )
    for extension in recorded.extensions:
        made = made.add_extension(extension.value, extension.critical)
    return made.sign(DAVE, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _first_files() -> dict[str, int]:
    """The first recorded file id of every job."""
    first: dict[str, int] = {}
    for topic in TOPICS:
        for record in records(topic):
            found = record["response"].get("json")
            for item in found if isinstance(found, list) else [found]:
                files = item.get("files", [item]) if isinstance(item, dict) else []
                for file in files:
                    if isinstance(file, dict) and "file_id" in file:
                        job_id = file.get("job_id") or item.get("job_id")
                        lowest = file["file_id"] - file.get("file_index", 0)
                        first[job_id] = min(first.get(job_id, lowest), lowest)
    return first


FIRST_FILES = _first_files()


def prepare_topic(topic: str, replay: Replay) -> None:
    """What a topic takes for granted without saying it in `given`."""
    every = records(topic)
    if topic == "list":
        for theirs, name in (
            ("94d7d8e4-572e-5a71-b47e-66a871401976", "det"),
            ("7a424a5e-e5f8-11f1-99e6-02fc00000001", "rc"),
        ):
            source, destination = (
                f"davs://aip-gw.example.org:8443/aips/{name}.tar",
                f"davs://eoscta.example.org:8444/eos/cta/dm/{name}.tar",
            )
            shown = next(
                item for record in every for item in record["response"]["json"]
                if isinstance(item, dict) and item.get("job_id") == theirs and "params" not in item
            )  # fmt: skip
            params = {
                "retry": shown["retry"],
                "retry_delay": shown["retry_delay"],
                "archive_timeout": shown["archive_timeout"],
            }
            params |= {"id_generator": "deterministic", "sid": "aip-42:cern:1"} if name == "det" else {}
            params["verify_checksum"] = {"b": "both", "n": "none", "t": "target"}[shown["verify_checksum"]]
            job = {"files": [{"sources": [source], "destinations": [destination]}], "params": params}
            replay.prepare([{"op": "submit", "as": "user2", "job_id": theirs, "json": job}])
    if topic == "admin":
        ends = {"sources": ["davs://src.example.org/c"], "destinations": ["davs://dst.example.org/c"]}
        theirs = next(r for r in every if r["name"] == "admin/ban-dn")["response"]["json"][0]
        replay.prepare([{"op": "submit", "as": "carol", "job_id": theirs, "json": {"files": [ends]}}])
    if topic == "token":
        replay.prepare(next(r for r in every if r["name"] == "token/foreign-job")["given"])
    if topic == "retention":
        replay.prepare(every[1]["given"][:-1])
    if topic == "walk-archive":
        replay.prepare(next(r for r in every if r["name"] == "walk-archive/archiving")["given"])
        replay.applied.clear()
        replay.ids.clear()


def pairs(topic: str) -> Iterator[Any]:
    for number, record in enumerate(records(topic)):
        yield pytest.param(topic, number, id=record["name"])


@pytest.fixture(scope="module")
def replays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Replay]]:
    made: dict[str, Replay] = {}
    for topic in TOPICS:
        made[topic] = Replay(tmp_path_factory.mktemp(topic))
        if SHARED is not None and topic != "walk-archive":
            prepare_topic(topic, made[topic])
    yield made
    for replay in made.values():
        replay.ledger.close()


def same(expected: Any, found: Any, ids: dict[str, str], key: str = "") -> bool:
    """Equal but for volatile values, which must only be of one kind."""
    if key in VOLATILE:
        known = key == "job_id" and (expected in ids or "-e5f8-11f1-" not in expected)
        return (expected is None) == (found is None) and (not known or ids.get(expected, expected) == found)
    if isinstance(expected, dict):
        return isinstance(found, dict) and expected.keys() == found.keys() and all(
            same(value, found[name], ids, name) for name, value in expected.items()
        )  # fmt: skip
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and all(
            same(one, other, ids, key) for one, other in zip(expected, found, strict=True)
        )  # fmt: skip
    if isinstance(expected, str):
        # Seconds inside the 419 texts and CN numbers of proxies are volatile.
        expected, found = (SECONDS.sub("so many seconds", each) for each in (expected, str(found)))
        for theirs, mine in ids.items():
            expected = expected.replace(theirs, mine)
    return bool(expected == found)


def difference(expected: Any, found: Any, ids: dict[str, str], where: str = "") -> list[str]:
    """Where two answers differ, for the message of a failure."""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = expected.keys() | found.keys()
        return [
            line
            for name in sorted(keys)
            for line in (
                difference(expected[name], found[name], ids, f"{where}.{name}")
                if name in expected and name in found
                else [f"{where}.{name}: {'missing' if name in expected else 'extra'}"]
            )
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            line
            for n, (a, b) in enumerate(zip(expected, found, strict=True))
            for line in difference(a, b, ids, f"{where}[{n}]")
        ]
    return [] if same(expected, found, ids, where.rpartition(".")[2]) else [f"{where}: {expected!r} != {found!r}"]


def take_for_granted(name: str, replay: Replay) -> None:
    """What was done or set before a record and is not in the corpus, which is a selection."""
    replay.record, replay.oauth2 = name, name.startswith("token/")
    defect = [{"effect": "check-duplicates"}] if name == "submit-errors/check-duplicates-enabled" else []
    replay.faults.write_text(json.dumps(defect))
    if name == "delegation/submit-30-minutes":
        replay.ledger.keep_note("proxy", DNS["dave"], {"expires": time.time() + 1800})
    if name == "admin/submit-banned-se-wait":
        ban = {"se": "davs://banned.example.org", "vo": "*", "status": "WAIT", "message": "maintenance"}
        replay.ledger.keep_note("banned-se", ban["se"], ban)
    if name == "admin/submit-banned-se-wait-allow-submit":
        ban = {"se": "davs://banned.example.org", "vo": "*", "status": "WAIT_AS", "message": "maintenance"}
        ban |= {"addition_time": "2026-11-21T22:11:22", "admin_dn": DNS["host"]}
        replay.ledger.keep_note("banned-se", ban["se"], ban)
    if name == "token/list":
        ends = {"sources": ["davs://src.example.org/l"], "destinations": ["davs://dst.example.org/l"]}
        replay.ask("token", {"method": "POST", "path": "/jobs", "json": {"files": [ends], "params": {}}})
    if name == "admin/cloud-storage-list":
        keys = {"vo_name": "dm", "access_key": "AK", "secret_key": "SK"}
        replay.ask("op", {"method": "POST", "path": "/config/cloud_storage/S3:S3.EXAMPLE.ORG", "json": keys})
    if name == "admin/se-config-get":
        settings = {"s3s://s3.example.org": {"se_info": {"tpc_support": "PULL"}}}
        replay.ask("op", {"method": "POST", "path": "/config/se", "json": settings})
    if name == "admin/status-hosts":
        ends = {"sources": ["davs://src.example.org/h"], "destinations": ["davs://dst.example.org/h"]}
        for number, (params, event) in enumerate((({"bring_online": 60}, "started"), ({}, "ready"))):
            submit = {"op": "submit", "as": "robot", "json": {"files": [ends], "params": params}}
            daemon = {"op": "daemon", "event": event}
            replay.prepare([{**step, "job_id": f"hosts-{number}"} for step in (submit, daemon)])


@pytest.mark.skipif(SHARED is None, reason="reference data (../shared) is not here")
@pytest.mark.parametrize(("topic", "number"), [pair for topic in TOPICS for pair in pairs(topic)])
def test_the_emulator_answers_as_recorded(topic: str, number: int, replays: dict[str, Replay]) -> None:
    record, replay = records(topic)[number], replays[topic]
    take_for_granted(record["name"], replay)
    replay.prepare(record.get("given", []))
    answer = replay.ask(record["as"], record["request"])
    expected = record["response"]
    assert answer.status == expected["status"]
    body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    if "json" in expected:
        found = json.loads(body)
        assert difference(expected["json"], found, replay.ids) == []
    else:
        assert body.decode()[:11] == expected.get("text", "")[:11]
    kind = expected["headers"].get("Content-Type", "").partition(";")[0]
    if body:
        assert answer.headers.get("Content-Type", "").partition(";")[0] == kind
    replay.answered(record, answer)
