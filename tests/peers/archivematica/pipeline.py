"""What happens within an Archivematica: queue, slots, jobs, outcomes by content, storing (archivematica.md 3)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from perdura.storage.memory import MemoryStore

from . import aip
from .clock import Agenda, SteppedClock
from .jobs import CREATE_SIP, REMOVE, Job, recorded, status_of

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
TRANSFER_SECONDS = INGEST_SECONDS = 6.0
TOGETHER_SECONDS = 1.0
"""Transfers begun within this time are copied side by side."""
SINGLE_SIP = ("bb194013-597c-4e4a-8493-b36d190f8717", "61cfa825-120e-4b17-83e6-51a42b67d969")
_AS_7Z = (".tar.gz", ".7z")
_PACKED = (".zip", ".tar.gz", ".tgz")
EXTRACT = ("dec97e3c-5598-4b99-b26e-f87a435a6b7f", "01d80b27-4ad1-4bd1-8f8d-f819f18bf685")
DELETE = ("f19926dd-8fb5-4c79-8ade-c83f61f55b40", "85b1e45d-8f98-4cae-8336-72f40e12cbef")
"""To extract packages, and to delete them after that: question and the answer yes."""
QUESTION = "Do you want to perform file format identification?"


@dataclass(frozen=True)
class Plan:
    """What goes wrong with one package; every default is that nothing does."""

    post: str = "ok"
    """ok, error, error-created, reset, reset-created, html, html-created, truncated-created, pending.

    `pending`: the server dies over it, and its idempotency key is answered with 409 for ever (1.2)."""
    copying: str = "ok"
    """ok, lost."""
    transfer: str = "ok"
    """ok, user-input, decided, rejected, failed, wedge, slow."""
    ingest: str = "ok"
    """ok, failed, user-input, stuck."""
    store: str = "ok"
    """ok, flip, missing, pending, fail, short, unpacked, closed.

    `closed`: a .7z, though what is in it is none."""
    callback: str = "once"
    """once, never, late, twice."""
    normalisation: str = "ok"
    """ok, failed."""


@dataclass
class Unit:
    """A transfer or a SIP."""

    id: str
    stage: str
    name: str
    kind: str
    path: str
    configuration: str
    plan: Plan
    sequence: int
    content: Mapping[str, bytes] | None = None
    jobs: list[Job] = field(default_factory=list)
    sip: str | None = None
    state: str = "copying"
    hidden: bool = False
    directory: str = ""
    clash: str = ""
    """What another transfer of the same name in flight does to it (3.4): `directory-gone`, `emptied` or `mixed`."""
    begun: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.state in {"complete", "failed", "rejected"}


@dataclass
class Stored:
    """A package record of the Storage Service, with the package itself."""

    id: str
    kind: str
    status: str
    path: str
    at: datetime
    made: aip.Made
    related: tuple[str, ...] = ()
    location: str = ""
    """Where it was moved or given to; empty for where Archivematica stored it."""
    given: bool = False
    """Whether it was brought by `POST /file/`."""


class Pipeline:
    """One Archivematica with its store; everything happens when `agenda.run()` finds it due."""

    def __init__(
        self,
        store: MemoryStore,
        clock: SteppedClock,
        *,
        slots: int = 1,
        source: tuple[str, str] = ("sips", "in/"),
        aips: tuple[str, str] = ("aips", "aip"),
        callback: Callable[[str, str], None] | None = None,
    ) -> None:
        self.store, self.clock, self.agenda = store, clock, Agenda(clock)
        self.slots, self.source, self.aips = slots, source, aips
        self.callback = callback
        self.location, self.pipeline = str(uuid4()), str(uuid4())
        self.configurations = ["automated", "default", "s3store"]
        self.choices = {SINGLE_SIP[0]: SINGLE_SIP[1]}
        """What every one of them decides, by question."""
        self.plans: dict[str, Plan] = {}
        self.default_plan = Plan()
        self.approves = True
        """Whether a transfer begins by itself; else each waits for a person, whatever its request says."""
        self.units: dict[str, Unit] = {}
        self.stored: dict[str, Stored] = {}
        self.started: list[Unit] = []
        """Every transfer that really began, in order: two of one name would be our fault."""
        self.with_dip, self.dip_status = False, "UPLOADED"
        self.change_dip: Callable[[dict[str, bytes]], object] = lambda members: None
        """Changes the files of a DIP before it is stored."""
        self._queue: list[Unit] = []
        self._running: set[str] = set()
        self._count = 0

    def plan_of(self, name: str) -> Plan:
        return self.plans.get(name, self.default_plan)

    def begin(self, name: str, kind: str, place: str, configuration: str, *, approve: bool = True) -> Unit:
        """Take a request; copying and all that follows happens later, and no error of it is ever reported here."""
        location, colon, path = place.rpartition(":")
        if _is_packed(path):
            name = _unpacked(path.rpartition("/")[2])
        self._count += 1
        unit = Unit(
            str(uuid4()), "transfer", name, kind, path, configuration, self.plan_of(name), self._count, directory=name
        )
        unit.begun = self.clock.now()
        self.units[unit.id] = unit
        self.started.append(unit)
        lost = (colon and location != self.location) or unit.plan.copying == "lost"
        if not lost and approve and self.approves:
            self.agenda.after(0.4, lambda: self._copied(unit))
        elif not lost:
            self.agenda.after(0.4, lambda: self._put_down(unit))
        return unit

    def _put_down(self, unit: Unit) -> None:
        """A transfer waits for approval: a directory as another unit, which has lost its configuration (1.7)."""
        question = "Approve zipped bagit transfer"
        if not _is_packed(unit.path):
            question, unit.state = "Approve bagit transfer", "lost"
            unit = replace(unit, id=str(uuid4()), configuration="default", jobs=[])
            self.units[unit.id] = unit
        else:
            unit.directory = unit.name = unit.path.rpartition("/")[2]
        unit.state = "unapproved"
        self._job(unit, question, "Approve transfer", "USER_INPUT")
        unit.jobs[-1].tasks = []

    def approve(self, unit: Unit) -> Unit:
        """A transfer that waited begins."""
        unit.jobs[-1].status, unit.state = "COMPLETE", "copying"
        unit.name = _unpacked(unit.name)
        self._copied(unit)
        return unit

    def restart(self) -> None:
        """MCPServer restarts: what is queued is lost for ever, a wedge is gone, what runs finishes."""
        for unit in self._queue:
            unit.state = "lost"
        self._queue.clear()
        self._running = {each for each in self._running if self.units[each].state == "running"}
        for unit in self.units.values():
            if unit.state == "wedged":
                unit.state = "failed" if unit.jobs and "ailed" in unit.jobs[-1].group else "lost"

    def _copied(self, unit: Unit) -> None:
        unit.content = self._read(unit.path)
        if unit.content is None:
            unit.state = "lost"
            return
        self._meet(unit)
        self._enqueue(unit)

    def _meet(self, unit: Unit) -> None:
        """What comes of it when a transfer in flight has the name already."""
        first = next((each for each in self.units.values() if each is not unit and _holds(each, unit.name)), None)
        if first is None or first.begun is None or unit.begun is None:
            return
        if unit.kind == "unzipped bag":
            unit.clash, first.clash = "directory-gone", "mixed"
        elif _is_packed(unit.path) or (unit.begun - first.begun).total_seconds() < TOGETHER_SECONDS:
            unit.name = unit.directory = f"{unit.name}_1"
        else:
            unit.clash = "emptied"

    def _read(self, path: str) -> Mapping[str, bytes] | None:
        bucket, prefix = self.source
        key = prefix + path.lstrip("/")
        listed = list(self.store.list(bucket, key))
        if not listed:
            return None
        return {info.ref.key.removeprefix(key).lstrip("/") or "": self.store.read(info.ref) for info in listed}

    def _enqueue(self, unit: Unit) -> None:
        unit.state = "queued"
        self._queue.append(unit)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._queue and len(self._running) < self.slots:
            unit = min(self._queue, key=lambda each: (each.stage != "ingest", self._queue.index(each)))
            self._queue.remove(unit)
            self._running.add(unit.id)
            unit.state = "running"
            if unit.stage == "transfer":
                self._run_transfer(unit)
            else:
                self._run_ingest(unit)

    def _free(self, unit: Unit) -> None:
        self._running.discard(unit.id)
        self._dispatch()

    def _job(
        self, unit: Unit, name: str, group: str, status: str = "COMPLETE", tasks: tuple[tuple[str, int], ...] = ()
    ) -> None:
        link = next((link for known, _, link in recorded(unit.stage) if known == name), str(uuid4()))
        if tasks == () and status == "COMPLETE":
            tasks = ((f"{unit.name}-{unit.id}", 0),)
        unit.jobs.append(Job(name, group, link, status, self.agenda.at, list(tasks)))

    def _good_jobs(self, unit: Unit, seconds: float, until: str | None = None, share: float = 1.0) -> float:
        """Schedule the jobs of a good run, evenly over so many seconds; gives the time of the last one."""
        jobs = recorded(unit.stage)
        names = [name for name, _, _ in jobs]
        end = names.index(until) if until in names else int(len(jobs) * share)
        for number, (name, group, _) in enumerate(jobs[:end]):
            self.agenda.after(
                0.05 + number * seconds / len(jobs), lambda name=name, group=group: self._job(unit, name, group)
            )
        return 0.05 + end * seconds / len(jobs)

    def _run_transfer(self, unit: Unit) -> None:
        outcome = self._judge(unit)
        unit.directory = f"{unit.name}-{unit.id}"
        seconds = TRANSFER_SECONDS * (20 if unit.plan.transfer == "slow" else 1)
        if outcome == "ok":
            last = self._good_jobs(unit, seconds, CREATE_SIP)
            self.agenda.after(last + 0.1, lambda: self._transferred(unit))
        elif outcome in {"user-input", "decided"}:
            last = self._good_jobs(unit, seconds, share=0.3)
            self.agenda.after(last, lambda: self._ask(unit, QUESTION, decided=outcome == "decided"))
        elif outcome == "emptied":
            last = self._good_jobs(unit, seconds, share=0.1)
            self.agenda.after(last, lambda: self._ask(unit, "Attempt restructure for compliance?", decided=False))
        elif outcome == "wedge":
            last = self._good_jobs(unit, seconds, share=0.3)
            self.agenda.after(last, lambda: setattr(unit, "state", "wedged"))
        elif outcome == "rejected":
            last = self._good_jobs(unit, seconds, share=0.3)
            self.agenda.after(last, lambda: self._reject(unit))
        else:
            job, group, code, file = _FAILURES[outcome]
            last = self._good_jobs(unit, 1.0, share=0.2)
            self.agenda.after(last, lambda: self._fail(unit, job, group, code, file))

    def _ask(self, unit: Unit, question: str, *, decided: bool) -> None:
        self._job(unit, question, "Identify file format", "USER_INPUT", tasks=())
        unit.jobs[-1].tasks = []
        unit.state = "asking"
        self._free(unit)
        if decided:
            self.agenda.after(40, lambda: self.decide(unit))

    def decide(self, unit: Unit) -> None:
        """A person answers the question."""
        unit.jobs[-1].status = "COMPLETE"
        unit.configuration, unit.plan = "automated", replace(unit.plan, transfer="ok")
        self._enqueue(unit)

    def _reject(self, unit: Unit) -> None:
        self._job(unit, "Cleanup rejected transfer", "Reject transfer")
        self._job(unit, "Move to the rejected directory", "Reject transfer")
        unit.state = "rejected"
        self._free(unit)

    def _fail(self, unit: Unit, job: str, group: str, code: int, file: str) -> None:
        self._job(unit, job, group, "FAILED", ((file, code),))
        if job == "Verify transfer compliance":
            # The slot is kept by a unit that nothing will pick up: the pipeline stands still until its restart (3.5).
            name = "Failed compliance. See output in dashboard. Transfer moved back"
            self._job(unit, name, "Failed transfer compliance")
            unit.state = "wedged"
            return
        else:
            self._job(unit, "Email fail report", "Failed transfer")
            self._job(unit, "Cleanup failed Transfer", "Failed transfer")
            self._job(unit, "Move to the failed directory", "Failed transfer")
        unit.state = "failed"
        self._free(unit)

    def _judge(self, unit: Unit) -> str:
        """The outcome by content and configuration, as the real one has it (3.2)."""
        if unit.plan.transfer not in {"ok", "slow"}:
            return unit.plan.transfer
        if unit.clash in {"directory-gone", "emptied"}:
            return unit.clash
        content = unit.content or {}
        if unit.configuration not in self.configurations or unit.configuration == "default":
            return "user-input"
        if unit.kind == "standard" and ("" in content or not any(content)):
            return "compliance"
        if "" in content:
            opened = _opened(content[""])
            if opened is None:
                return "no-archive"
            content = opened
        if not any(path.startswith("data/") for path in content) and unit.kind != "standard":
            return "bag"
        if any(EICAR in body for body in content.values()):
            return "virus"
        if unit.kind in {"zipped bag", "unzipped bag"} and not _is_bag(content):
            return "bag"
        unit.content = content
        return "ok"

    def _transferred(self, unit: Unit) -> None:
        self._job(unit, CREATE_SIP, "Create SIP from Transfer")
        self._count += 1
        sip = Unit(str(uuid4()), "ingest", unit.name, unit.kind, unit.path, unit.configuration, unit.plan, self._count)
        sip.content, sip.directory = unit.content, f"{unit.name}-{sip.id}"
        if unit.clash == "mixed":
            sip.plan = replace(sip.plan, ingest="failed")
        unit.sip, unit.state = sip.id, "complete"
        self.units[sip.id] = sip
        self._free(unit)
        self.agenda.after(0.8, lambda: self._enqueue(sip))

    def _run_ingest(self, unit: Unit) -> None:
        plan = unit.plan.ingest
        if plan == "failed":
            last = self._good_jobs(unit, INGEST_SECONDS, share=0.1)
            self.agenda.after(last + 10, lambda: self._fail_sip(unit))
        elif plan == "user-input":
            last = self._good_jobs(unit, INGEST_SECONDS, share=0.5)
            self.agenda.after(last, lambda: self._ask(unit, "Reminder: add metadata if desired", decided=False))
        elif plan == "stuck":
            self._good_jobs(unit, INGEST_SECONDS, share=0.5)
        else:
            last = self._good_jobs(unit, INGEST_SECONDS, REMOVE)
            self.agenda.after(last, lambda: self._store(unit))

    def _fail_sip(self, unit: Unit) -> None:
        name = "Failed compliance. See output in dashboard. SIP moved back to SIPsUnderConstruction"
        self._job(unit, "Verify SIP compliance", "Verify SIP compliance")
        self._job(unit, "Attempt restructure for compliance", "Verify SIP compliance", "FAILED", (("", 1),))
        self._job(unit, name, "Failed compliance")
        unit.state = "failed"
        self._free(unit)

    def _store(self, unit: Unit) -> None:
        content = unit.content or {}
        payload = {path.removeprefix("data/"): body for path, body in content.items() if path.startswith("data/")}
        tags = {path: body for path, body in content.items() if not path.startswith("data/")}
        payload = self._extracted(payload)
        if unit.plan.store == "short" and payload:
            payload.popitem()
        made = aip.make(unit.name, unit.id, payload, self.agenda.at, tags)
        if unit.plan.normalisation == "failed":
            self._job(unit, "Normalize for preservation", "Normalize", "FAILED", (("file_0008.bmp", 1),))
        folders = "/".join(unit.id.replace("-", "")[start : start + 4] for start in range(0, 32, 4))
        key = f"{self.aips[1]}/{folders}/{made.name}"
        data = made.data
        if unit.plan.store == "flip":
            data = data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]
        if unit.plan.store == "unpacked":
            made, key, data = (
                replace(made, name=f"{unit.name}-{unit.id}", pointer=b""),
                key.removesuffix(".tar.gz"),
                b"",
            )
            for path, body in made.members.items():
                self.store.put(self.aips[0], f"{key}/{path}", body)
        elif unit.plan.store != "missing":
            if unit.plan.store == "closed":
                made, key = replace(made, name=made.name.replace(*_AS_7Z)), key.replace(*_AS_7Z)
            self.store.put(self.aips[0], key, data)
        status = {"pending": "PENDING", "fail": "FAIL"}.get(unit.plan.store, "UPLOADED")
        record = Stored(unit.id, "AIP", status, f"/{key}", self.agenda.at, replace(made, data=data))
        self.stored[unit.id] = record
        if status == "PENDING":
            self.agenda.after(20, lambda: setattr(record, "status", "UPLOADED"))
        if self.with_dip:
            self._store_dip(unit, record)
        self._call_back(unit)
        self._job(unit, "Store the AIP", "Store AIP", tasks=((made.name, 0),))
        self.agenda.after(0.3, lambda: self._ingested(unit))

    def _extracted(self, payload: Mapping[str, bytes]) -> dict[str, bytes]:
        """What a configuration that extracts packages makes of the payload."""
        extracts, deletes = (self.choices.get(question) == yes for question, yes in (EXTRACT, DELETE))
        found: dict[str, bytes] = {}
        for path, body in payload.items():
            members = _opened(body) if extracts and path.endswith(".zip") else None
            if members is None or not deletes:
                found[path] = body
            found |= {f"{path}-2026-11-21T22:30:00/{name}": data for name, data in (members or {}).items()}
        return found

    def _store_dip(self, unit: Unit, record: Stored) -> None:
        dip = str(uuid4())
        made = record.made.members
        members = {
            f"objects/{uuid4()}-{path.rpartition('/')[2]}": body
            for path, body in made.items()
            if path.startswith("data/objects/") and "submissionDocumentation" not in path
        }
        members |= {f"METS.{unit.id}.xml": made[f"data/METS.{unit.id}.xml"], "processingMCP.xml": b"<processingMCP/>"}
        self.change_dip(members)
        package = aip.Made(f"{unit.name}-{unit.id}", b"", b"", members)
        self.stored[dip] = Stored(dip, "DIP", self.dip_status, f"/dip/{dip}", self.agenda.at, package, (unit.id,))
        record.related = (dip,)

    def _call_back(self, unit: Unit) -> None:
        if self.callback is None or unit.plan.callback == "never":
            return
        call = self.callback
        if unit.plan.callback == "late":
            self.agenda.after(60, lambda: call(unit.id, unit.name))
            return
        call(unit.id, unit.name)
        if unit.plan.callback == "twice":
            self.agenda.after(1, lambda: call(unit.id, unit.name))

    def _ingested(self, unit: Unit) -> None:
        self._job(unit, REMOVE, "Store AIP")
        unit.state = "complete"
        self._free(unit)

    def status(self, stage: str, unit_id: str) -> tuple[int, dict[str, Any]]:
        """Answer of a status call."""
        unit = self.units.get(unit_id)
        if unit is None or unit.stage != stage:
            kind, model = ("transfer", "unitTransfer") if stage == "transfer" else ("SIP", "unitSIP")
            return 400, {"type": kind, "message": f"Cannot fetch {model} with UUID {unit_id}", "error": True}
        found = status_of(stage, unit.jobs, sip=unit.sip)
        if found is None:
            return 400, {"error": True, "message": f"Unable to determine the status of the unit {unit_id}"}
        answer = {
            "type": "transfer" if stage == "transfer" else "SIP",
            "path": f"/var/archivematica/sharedDirectory/currentlyProcessing/{unit.directory}/",
            "directory": unit.directory,
            "name": unit.name,
            "uuid": unit_id,
            "microservice": found[1],
            "status": found[0],
            "message": f"Fetched status for {unit_id} successfully.",
        }
        if unit.sip and found[0] == "COMPLETE":
            answer["sip_uuid"] = unit.sip
        return 200, answer


_FAILURES = {
    "failed": ("Characterize and extract metadata", "Characterize and extract metadata", 1, "file_0001.csv"),
    "virus": ("Scan for viruses in directories", "Scan for viruses", 1, "eicar.com"),
    "bag": ("Verify bag, and restructure for compliance", "Verify transfer compliance ", 1, ""),
    "no-archive": ("Extract zipped bag transfer", "Approve transfer", 2, ""),
    "directory-gone": ("Rename with transfer UUID", "Approve transfer", 1, ""),
    "compliance": ("Verify transfer compliance", "Verify transfer compliance", 1, ""),
}


def _holds(unit: Unit, name: str) -> bool:
    """Whether a transfer in flight has that name, or got it until its end."""
    return unit.stage == "transfer" and unit.name == name and unit.state in {"queued", "running"}


def _is_packed(path: str) -> bool:
    return path.lower().endswith(_PACKED)


def _unpacked(name: str) -> str:
    return next((name[: -len(each)] for each in _PACKED if name.lower().endswith(each)), name)


def decoded(path: object) -> str | None:
    """The path of a request, or None when it cannot be decoded (1.2)."""
    if not isinstance(path, str):
        return None
    try:
        return base64.b64decode(path).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _opened(data: bytes) -> dict[str, bytes] | None:
    """Members of a zip or tar.gz, without the top folder that many have."""
    try:
        if data[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                found = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
        else:
            with tarfile.open(fileobj=io.BytesIO(data)) as packed:
                found = {
                    member.name: body.read()
                    for member in packed
                    if member.isfile() and (body := packed.extractfile(member)) is not None
                }
    except (zipfile.BadZipFile, tarfile.TarError, OSError):
        return None
    if "bagit.txt" not in found and len({name.partition("/")[0] for name in found}) == 1:
        found = {name.partition("/")[2]: body for name, body in found.items()}
    return found


def _is_bag(content: Mapping[str, bytes]) -> bool:
    """Whether bagit-python would call it valid: digests, completeness, Payload-Oxum; it knows no `%25`."""
    payload = {path for path in content if path.startswith("data/")}
    if "bagit.txt" not in content:
        return False
    for path, body in content.items():
        if path.startswith(("manifest-", "tagmanifest-")):
            algorithm = path.rpartition("-")[2].removesuffix(".txt")
            listed = set()
            for line in body.decode().splitlines():
                digest, _, name = line.replace("\t", " ").partition(" ")
                name = name.strip().replace("%0A", "\n").replace("%0D", "\r")
                listed.add(name)
                if name not in content or hashlib.new(algorithm, content[name]).hexdigest() != digest:
                    return False
            if path.startswith("manifest-") and listed != payload:
                return False
    told = dict(line.split(": ", 1) for line in content.get("bag-info.txt", b"").decode().splitlines())
    oxum = f"{sum(len(content[path]) for path in payload)}.{len(payload)}"
    return told.get("Payload-Oxum", oxum) == oxum
