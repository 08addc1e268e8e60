"""What ingest accepts, preserve takes: the limits of a submission are those of the settings, for whoever reads it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perdura.errors import Rejected
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.packages.limits import limits_of
from perdura.packages.package import Verdict
from perdura.packages.verify import verify
from perdura.settings import Settings
from perdura.steps.preserve import run
from perdura.steps.stored_package import source_of
from perdura.storage.memory import MemoryStore
from tests.unit.preserve.fakes import FakeIdentifier, ports
from tests.unit.preserve.submissions import bag, deposit, tarred

LONG = "data/" + "/".join(["d" * 99] * 9) + "/" + "e" * 40
SOME = {f"data/{number}.txt": b"x" for number in range(8)}
ZEROS = {"data/zeros.raw": bytes(1 << 20)}


def preserved(store: MemoryStore, archive: ArchiveView, limits: dict[str, Any]) -> Outcome:
    found = ports(store, identifier=FakeIdentifier())
    return run(archive, replace(found, settings=found.settings.model_copy(update={"package_limits": limits})))


@pytest.mark.parametrize(
    ("files", "mode", "accepted", "refused"),
    [
        ({LONG: b"x"}, "w", {"path_bytes": 1024}, {}),
        (SOME, "w", {}, {"members": 5}),
        (ZEROS, "w:gz", {}, {"ratio_free": 4096}),
        (ZEROS, "w:gz", {}, {"gzip_package_size": 1 << 20}),
        (SOME, "w", {}, {"tag_file": 10}),
    ],
)
def test_what_ingest_accepts_by_its_limits_preserve_takes_and_nothing_else(
    files: dict[str, bytes], mode: str, accepted: dict[str, Any], refused: dict[str, Any]
) -> None:
    store = MemoryStore()
    archive = deposit(store, tarred(bag(files), mode), "tar" if mode == "w" else "tar.gz")
    for limits in (accepted, refused):
        settings = Settings(package_limits=limits)
        report = verify(source_of(archive.packages[0], store), limits=limits_of(settings))
        if limits is accepted:
            assert report.verdict in {Verdict.VALID, Verdict.WARNINGS}, report.findings
            assert preserved(store, archive, limits).state is StepState.COMPLETED
        else:
            assert report.verdict in {Verdict.REJECTED, Verdict.INVALID}
            with pytest.raises(Rejected):
                preserved(store, archive, limits)
