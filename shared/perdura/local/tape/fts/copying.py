"""One copy, in the order and with the texts of FTS's own copy process (fts-cta.md 4)."""

from __future__ import annotations

import re
from collections.abc import Callable

from perdura.local.tape.faults import Faults
from perdura.local.tape.fts import retries
from perdura.local.tape.fts.credentials import DelegatedProxies, may_act
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.model import Model
from perdura.local.tape.fts.storage import Stat, StorageError, Storages
from perdura.local.tape.fts.submission import Row

REASON = re.compile(r"([A-Z_]+) \[(\d+)\] ?(.*)", re.DOTALL)
LAST_ATTEMPT = "TRANSFER ERROR: Copy failed (3rd pull). Last attempt:"


class CopyFailed(Exception):
    """A copy failed: scope, errno, text and what the destination was found to be."""

    def __init__(self, scope: str, errno: int, text: str, metadata: Row | None = None) -> None:
        super().__init__(text)
        self.scope, self.errno, self.text, self.metadata = scope, errno, text, metadata

    @property
    def reason(self) -> str:
        """The reason as FTS writes it, query strings left out."""
        return retries.redacted(f"{self.scope} [{self.errno}] {self.text}")[:2048]


def _as_told(reason: str) -> CopyFailed:
    match = REASON.match(reason)
    return CopyFailed(match[1], int(match[2]), match[3]) if match else CopyFailed("TRANSFER", 5, reason)


class Copier:
    """Copies files between storages, acting with the proxies that users delegated."""

    def __init__(
        self, ledger: Ledger, storages: Storages, faults: Faults, proxies: DelegatedProxies | None = None
    ) -> None:
        self._ledger, self._storages, self._faults, self._proxies = ledger, storages, faults, proxies
        self._model = Model(faults)

    def copy(self, job: Row, file: Row, begun: Callable[[int], bool]) -> None:
        """Copy one file. `begun` takes the size, and says whether the file is still to be copied; raises CopyFailed."""
        source, destination = file["source_surl"], file["dest_surl"]
        mode, wanted = job["verify_checksum"], retries.checksum(file["checksum"])
        if not may_act(self._proxies, job):
            raise CopyFailed("TRANSFER", 13, f"{LAST_ATTEMPT} proxy expired")
        rule = self._model.of(source, destination)
        if rule is not None:
            size, failure = self._model.copied(rule, file)
            if failure is not None or not begun(size):
                raise _as_told(failure or "TRANSFER [125] Transfer canceled by the user")
            return
        bearer = self._source_token(job, file)
        if fault := self._faults.apply("transfer-failure", f"{source} {destination}"):
            scope, _, text = str(fault.get("text", "TRANSFER TRANSFER ERROR: injected")).partition(" ")
            raise CopyFailed(scope, int(fault.get("errno", 110)), text)
        found = self._at_source(source, bearer)
        if not begun(found.size):
            raise CopyFailed("TRANSFER", 125, "Transfer canceled by the user")
        if mode in "sb":
            if found.adler32 is None:
                raise CopyFailed("SOURCE", 38, "checksum calculation for ADLER32 not supported")
            if wanted and wanted != found.adler32:
                text = f"Source and user-defined ADLER32 checksum do not match ({found.adler32} != {wanted})"
                raise CopyFailed("SOURCE", 5, text)
        self._destination_free(job, file)
        headers = {"Source": source.replace("davs://", "https://", 1), "Credential": "none", "Overwrite": "F"}
        headers["RequireChecksumVerification"] = "false"
        if bearer is not None:
            headers["TransferHeaderAuthorization"] = f"Bearer {bearer}"
        elif opened := self._storages.credentials(source).get("Authorization"):
            headers["TransferHeaderAuthorization"] = opened
        try:
            self._storages.copy(destination, headers)
        except StorageError as error:
            if error.errno != 17:
                self._storages.delete(destination)
            raise CopyFailed("TRANSFER", error.errno, error.message) from error
        self._verify(mode, wanted, found, destination)

    def _at_source(self, source: str, bearer: str | None) -> Stat:
        try:
            found = self._storages.stat(source, bearer)
        except StorageError as error:
            raise CopyFailed("SOURCE", error.errno, error.message) from error
        if found is None:
            raise CopyFailed("SOURCE", 2, "Result HTTP 404 : File not found  after 1 attempts")
        return found

    def _source_token(self, job: Row, file: Row) -> str | None:
        """The token that came with the submission, or one the storage gives to the user's proxy."""
        held = self._ledger.note("token", str(file["src_token_id"]))
        if held is not None:
            return str(held["token"])
        context = self._proxies.context(job["user_dn"]) if self._proxies else None
        if context is None or not file["source_surl"].startswith(("https://", "davs://")):
            return None
        minutes = (600 + 2 * (file["user_filesize"] >> 20)) // 60 + 10
        return self._storages.macaroon(file["source_surl"], minutes, context)

    def _destination_free(self, job: Row, file: Row) -> None:
        destination = file["dest_surl"]
        there = self._at_destination(destination)
        if there is None:
            return
        if job["overwrite_flag"] == "Y":
            self._storages.delete(destination)
            return
        metadata = None
        if job["dst_file_report"] and job["archive_timeout"] > 0:
            report: Row = {
                "file_size": there.size, "checksum_type": "ADLER32", "checksum_value": there.adler32,
                "file_on_disk": False, "file_on_tape": False,
            }  # fmt: skip
            try:
                locality = self._storages.archived([destination])[destination].get("locality", "")
                report["file_on_disk"], report["file_on_tape"] = "DISK" in locality, "TAPE" in locality
                metadata = {**(file["file_metadata"] or {}), "dst_file": report}
            except (StorageError, KeyError):
                metadata = None
        text = "Destination file exists and overwrite is not enabled"
        raise CopyFailed("DESTINATION", 17, text, metadata)

    def _at_destination(self, destination: str) -> Stat | None:
        try:
            return self._storages.stat(destination)
        except StorageError as error:
            raise CopyFailed("DESTINATION", error.errno, error.message) from error

    def _verify(self, mode: str, wanted: str | None, source: Stat, destination: str) -> None:
        there = self._at_destination(destination)
        failure = None
        if there is None or there.size != source.size:
            failure = CopyFailed("DESTINATION", 22, "Source and destination file size mismatch")
        elif mode in "tb" and wanted and there.adler32 != wanted:
            text = f"User-defined and destination ADLER32 checksum do not match ({wanted} != {there.adler32})"
            failure = CopyFailed("DESTINATION", 5, text)
        elif mode == "b" and source.adler32 and there.adler32 != source.adler32:
            text = f"Source and destination ADLER32 checksum do not match ({source.adler32} != {there.adler32})"
            failure = CopyFailed("DESTINATION", 5, text)
        if failure is not None:
            self._storages.delete(destination)
            raise failure
