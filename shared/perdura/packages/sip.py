"""CERN's submission packages: `data/meta/sip.json`, read strictly and compared with the bag around it.

Real files deviate from every published schema in known ways (cern-oais-platform.md 1.2, 2, 21): those are read as
meant and noted; everything else is refused. Policy for packages without a manifest BagIt knows (adler32 only, as
CERN Open Data makes them): invalid, but every file is still compared with sip.json, and the report says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from perdura.packages.bag import Bag
from perdura.packages.names import unsafe
from perdura.packages.sip_schema import ENTRY_FIELDS, TOP_FIELDS, check_fields
from perdura.storage.digests import HEX_LENGTHS

SIP_JSON = "data/meta/sip.json"
_SELF = frozenset({SIP_JSON, "data/meta/bagitcreate.log"})
_CHECKSUM = re.compile(r"(md5|sha1|sha256|sha512|adler32):([0-9A-Fa-f]+)")
_FOLDER = re.compile(r"sip::(.+?)::(.+)::([0-9]+)")
_BEFORE_VALUES = (b",", b"[", b"{")
"""Every value of a JSON document but the first has one of these before it."""
_DIGITS = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class SipFile:
    """One entry of `contentFiles`; `size` in bytes where it is one, `path` None when it was never downloaded."""

    number: int
    path: str | None
    size: int | None
    is_metadata: bool
    downloaded: bool
    checksums: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Sip:
    """What sip.json says."""

    source: str | None = None
    recid: str | None = None
    created_by: str | None = None
    timestamp: int | None = None
    files: list[SipFile] = field(default_factory=list)
    sound: bool = True

    def algorithms_beside(self, bag: Bag) -> tuple[str, ...]:
        """Algorithms of sip.json that no payload manifest has: the files must be hashed for them."""
        named = {name for file in self.files for name, _ in file.checksums}
        return tuple(sorted(named - set(bag.payload_algorithms)))

    def judge(self, bag: Bag) -> None:
        """Compare what sip.json says of each file with the file."""
        mismatches = 0
        compared = 0
        for file in self.files:
            member = bag.layout.index.get(file.path) if file.path else None
            if member is None:
                continue
            for name, expected in file.checksums:
                found = bag.computed[name].get(member)
                compared += 1
                if found is not None and found.hex() != expected:
                    mismatches += 1
                    bag.findings.add("sip-checksum-mismatch", file.path, name, expected=expected, found=found.hex())
        if compared and not mismatches and self.sound and "payload-manifest-unsupported" in bag.findings.counts:
            bag.findings.add("sip-repairable", SIP_JSON)


def read_sip(data: bytes, bag: Bag) -> Sip | None:
    """Parse sip.json and note every fault and deviation; None when it is no JSON object."""
    if sum(map(data.count, _BEFORE_VALUES)) > bag.limits.sip_json_values:
        bag.findings.add("sip-json-not-read", SIP_JSON, f"{bag.limits.sip_json_values} values are accepted")
        return None
    value = _parse(data)
    if value is None:
        bag.findings.add("sip-json-malformed", SIP_JSON)
        return None
    sip = Sip()
    reader = _Reader(bag, sip)
    reader.top(value)
    bag.sip = {
        "source": sip.source,
        "recid": sip.recid,
        "created_by": sip.created_by,
        "timestamp": sip.timestamp,
        "files": len(sip.files),
    }
    return sip


def _parse(data: bytes) -> dict[str, Any] | None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name repeats")
        return found

    def no_constant(_: str) -> Any:
        raise ValueError("no JSON")

    try:
        value = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class _Reader:
    """Walks through sip.json; places are named as in `contentFiles[3].bagpath`."""

    def __init__(self, bag: Bag, sip: Sip) -> None:
        self._bag = bag
        self._sip = sip

    def fault(self, place: str, why: str) -> None:
        self._sip.sound = False
        self._bag.findings.add("sip-json-field", SIP_JSON, f"{place}: {why}")

    def deviation(self, place: str, why: str) -> None:
        self._bag.findings.add("sip-deviation", SIP_JSON, f"{place}: {why}")

    def top(self, value: dict[str, Any]) -> None:
        check_fields(value, TOP_FIELDS, "", self.fault)
        sip, bag = self._sip, self._bag
        sip.created_by = value["created_by"] if isinstance(value.get("created_by"), str) else None
        sip.timestamp = value["sip_creation_timestamp"] if _is_int(value.get("sip_creation_timestamp")) else None
        folder = _FOLDER.fullmatch(bag.layout.base.rstrip("/"))
        sip.source = self._identity(value, ("source",), folder and folder[1])
        sip.recid = self._identity(value, ("recid", "resource_id"), folder and folder[2])
        if self._is_light(value.get("audit")):
            bag.findings.add("sip-light", SIP_JSON)
        user_metadata = value.get("usr-meta")
        if isinstance(user_metadata, dict) and isinstance(user_metadata.get("embargo_timestamp"), str):
            self.deviation("usr-meta.embargo_timestamp", "text, not seconds")
        entries = value.get("contentFiles")
        if entries is None and "files" in value:
            entries = value["files"]
            self.deviation("files", "the old name of contentFiles")
        if not isinstance(entries, list) or not entries:
            self.fault("contentFiles", "a list of at least one entry is required")
            return
        for number, entry in enumerate(entries):
            self._entry(number, entry)
        self._against_bag()

    def _identity(self, value: dict[str, Any], names: Sequence[str], folder: str | None) -> str | None:
        name = next((name for name in names if name in value), names[0])
        if name != names[0]:
            self.deviation(name, f"the old name of {names[0]}")
        found = value.get(name)
        if isinstance(found, str) and found:
            return found
        if name in value and found is None:
            self.deviation(name, "null" + ("; taken from the folder's name" if folder else ""))
            return folder
        self.fault(name, "a non-empty text is required")
        return None

    def _is_light(self, audit: Any) -> bool:
        if not isinstance(audit, list) or not audit:
            self.fault("audit", "a list of at least one entry is required")
            return False
        light = False
        for number, entry in enumerate(audit):
            place = f"audit[{number}]"
            tool = entry.get("tool") if isinstance(entry, dict) else None
            if not isinstance(entry, dict) or not isinstance(tool, dict):
                self.fault(place, "an object with a tool is required")
                continue
            if not isinstance(entry.get("action"), str):
                self.fault(f"{place}.action", "a text is required")
            if not _is_int(entry.get("timestamp")):
                self.fault(f"{place}.timestamp", "an integer is required")
            for name in ("name", "version"):
                if not isinstance(tool.get(name), str):
                    self.fault(f"{place}.tool.{name}", "a text is required")
            dry_run = tool["params"].get("dry_run") if isinstance(tool.get("params"), dict) else None
            if number == 0 and not isinstance(dry_run, bool):
                self.fault(f"{place}.tool.params.dry_run", "true or false is required")
            light = light or dry_run is True
        return light

    def _entry(self, number: int, entry: Any) -> None:
        place = f"contentFiles[{number}]"
        if not isinstance(entry, dict):
            self.fault(place, "an object is required")
            return
        check_fields(entry, ENTRY_FIELDS, f"{place}.", self.fault)
        downloaded = entry.get("downloaded")
        path = entry.get("bagpath")
        if not isinstance(downloaded, bool):
            self.fault(f"{place}.downloaded", "true or false is required")
        if path is None and downloaded is False:
            self.deviation(f"{place}.bagpath", "missing for a file that was not downloaded")
        elif not isinstance(path, str) or unsafe(path) or not path.startswith(("data/content/", "data/meta/")):
            self.fault(f"{place}.bagpath", "a path below data/content/ or data/meta/ is required")
            path = None
        size = entry.get("size")
        if isinstance(size, str) and _DIGITS.fullmatch(size):
            self.deviation(f"{place}.size", "digits as text")
            size = int(size)
        elif size is not None and (not _is_int(size) or size < 0):
            size = None
        self._sip.files.append(
            SipFile(
                number,
                path,
                size,
                entry.get("metadata") is True,
                downloaded is not False,
                self._checksums(place, entry.get("checksum"), path),
            )
        )

    def _checksums(self, place: str, given: Any, path: str | None) -> tuple[tuple[str, str], ...]:
        if given is None:
            if path not in _SELF and path is not None:
                self.deviation(f"{place}.checksum", "none given")
            return ()
        if isinstance(given, str):
            given = [given]
        if not isinstance(given, list):
            self.fault(f"{place}.checksum", "a list of algorithm:hex is required")
            return ()
        result: list[tuple[str, str]] = []
        for text in given:
            found = _CHECKSUM.fullmatch(text) if isinstance(text, str) else None
            if found is None or len(found[2]) != HEX_LENGTHS[found[1]]:
                self.fault(f"{place}.checksum", "algorithm:hex of the right length is required")
            else:
                result.append((found[1], found[2].lower()))
        return tuple(result)

    def _against_bag(self) -> None:
        """Paths and sizes, both ways."""
        bag, sip, seen = self._bag, self._sip, set[str]()
        for file in sip.files:
            if file.path is None:
                bag.findings.add("sip-not-downloaded", SIP_JSON, f"contentFiles[{file.number}]")
                continue
            if file.path in seen:
                self.deviation(f"contentFiles[{file.number}].bagpath", "listed twice")
            seen.add(file.path)
            member = bag.layout.index.get(file.path)
            if member is None:
                bag.findings.add("sip-file-missing" if file.downloaded else "sip-not-downloaded", file.path)
                continue
            size = bag.container.members[member].size
            if file.size not in (None, size):
                # Producers write 0, an entry count or the size upstream had announced.
                bag.findings.add("sip-size-mismatch", file.path, expected=str(file.size), found=str(size))
        for path in bag.layout.payload:
            if path not in seen:
                bag.findings.add("sip-file-unlisted", path)
        if not any(file.path and file.path.startswith("data/content/") and not file.is_metadata for file in sip.files):
            bag.findings.add("sip-no-content", SIP_JSON)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
