"""METS and manifest of an AIP that was found good, put apart while its long history is recorded.

The invocations that go on then need neither unpack nor verify the package again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace

from perdura.outcome import ArchiveView, Finding
from perdura.packages.aip_index import lines
from perdura.ports import Ports
from perdura.steps.preserve_takeover_course import Course, folder
from perdura.steps.preserve_takeover_inside import Inside

_GATHERED = 1 << 20


def keep(archive: ArchiveView, inside: Inside, course: Course, ports: Ports) -> Course:
    """Store both, and note what was found."""
    place = folder(archive)
    with ports.store.writer(ports.settings.bucket_sips, f"{place}METS.xml") as sink:
        for chunk in inside.mets():
            sink.write(chunk)
        sink.finish()
    if inside.manifest is not None:
        with ports.store.writer(ports.settings.bucket_sips, f"{place}manifest.jsonl") as sink:
            for written in _lines(inside.manifest):
                sink.write(written)
            sink.finish()
    findings = [asdict(each) for each in inside.findings]
    return replace(
        course,
        kept={"notes": list(inside.notes), "findings": findings, "manifest": inside.manifest is not None},
    )


def kept(archive: ArchiveView, told: Mapping[str, object], ports: Ports) -> Inside:
    """What `keep` put apart."""
    bucket, place = ports.settings.bucket_sips, folder(archive)

    def mets() -> Iterator[bytes | memoryview]:
        return ports.store.stream(ports.store.head(bucket, f"{place}METS.xml").ref)

    manifest: dict[str, str] | None = None
    if told["manifest"]:
        found = ports.store.head(bucket, f"{place}manifest.jsonl")
        manifest = dict(map(json.loads, lines(ports.store.stream(found.ref))))
    findings, notes = told["findings"], told["notes"]
    assert isinstance(findings, list)
    assert isinstance(notes, list)
    return Inside(mets, manifest, tuple(Finding(**each) for each in findings), tuple(notes))


def _lines(manifest: Mapping[str, str]) -> Iterator[bytes]:
    gathered = bytearray()
    for entry in manifest.items():
        gathered += json.dumps(entry).encode() + b"\n"
        if len(gathered) >= _GATHERED:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)
