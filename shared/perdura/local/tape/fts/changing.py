"""Changing one file of a job in one transaction, if it is still where it was left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdura.local.tape.clock import moment
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.submission import Row

Change = Callable[[Row, list[Row], Row], Any]
"""Changes a job, its files and the one file that this is about; gives back the record of a failed attempt, or None."""
Changed = tuple[Row, list[Row], Row, Any]
"""The job, its files, the file, and what the change gave back."""


class Changing:
    """The ledger as workers use it. `moved` is told of other files that a change set going: job, file, state."""

    def __init__(self, ledger: Ledger, moved: Callable[[str, int, str], None]) -> None:
        self.ledger, self._moved = ledger, moved

    def load(self, job_id: str, file_id: int) -> tuple[Row, list[Row], Row] | None:
        """A job, its files and one of them; None when it is gone."""
        job = self.ledger.job(job_id)
        files = self.ledger.files(job_id)
        file = next((file for file in files if file["file_id"] == file_id), None)
        return None if job is None or file is None else (job, files, file)

    def change(self, job_id: str, file_id: int, expected: frozenset[str], act: Change) -> Changed | None:
        """Load, check that the file is in an `expected` state and not frozen, act and store; None when it is not."""
        with self.ledger.change():
            found = self.load(job_id, file_id)
            if found is None or self.frozen(job_id):
                return None
            job, files, file = found
            if file["file_state"] not in expected:
                if file["file_state"] == "CANCELED" and file["finish_time"] is None:
                    file["finish_time"] = moment()
                    self.ledger.store(job, [file])
                return None
            before = {other["file_id"]: other["file_state"] for other in files}
            result = act(job, files, file)
            if isinstance(result, dict):
                self.ledger.add_retry(result)
            self.ledger.store(job, files)
        for other in files:
            if other is not file and other["file_state"] != before[other["file_id"]]:
                self._moved(job_id, other["file_id"], other["file_state"])
        return job, files, file, result

    def frozen(self, job_id: str) -> bool:
        """Whether a job is only moved by hand (`control.py`)."""
        return self.ledger.note("frozen", job_id) is not None
