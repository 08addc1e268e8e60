"""Transfers of a harvest: units of files fetched at the same time, each with a receipt (architecture §3)."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from perdura.errors import Rejected, Retryable, UpstreamUnavailable
from perdura.outcome import ArchiveView
from perdura.ports import Ports
from perdura.sources.origin import Origin
from perdura.sources.plan import PlannedFile
from perdura.sources.transfer import Fetched, FileRefused, OutOfTime, fetch
from perdura.steps.harvest_plan import Stored
from perdura.steps.harvest_units import Receipt, Unit, read_receipt, units

THREADS = 4
"""Files that are fetched at the same time."""


def transferred(
    archive: ArchiveView, ports: Ports, stored: Stored, origin: Origin
) -> tuple[Receipt, list[FileRefused]]:
    """Fetch every unit that has no receipt yet. A refused file does not stop the others: the report names all.

    Raises OutOfTime, and the first Retryable error once the running units have ended.
    """
    transfers = _Transfers(archive, ports, stored, origin)
    done = transfers.receipts()
    missing = [unit for unit in units(stored.plan.files) if unit.number not in done]
    total = len(stored.plan.files)
    count = sum(len(receipt.fetched) for receipt in done.values())
    ports.progress("files", count, total)
    refusals: list[FileRefused] = []
    retryable: Retryable | None = None
    out_of_time = False
    begun = 0
    waiting = iter(missing)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="harvest") as pool:
        running: dict[Future[tuple[Receipt, list[FileRefused]]], Unit] = {}

        def start() -> None:
            unit = next(waiting, None) if retryable is None and not out_of_time else None
            if unit is not None:
                running[pool.submit(transfers.unit, unit)] = unit

        for _ in range(THREADS):
            start()
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                unit = running.pop(future)
                try:
                    receipt, refused = future.result()
                except Retryable as error:
                    retryable = retryable or error
                except OutOfTime as stopped:
                    out_of_time = True
                    begun += stopped.position
                else:
                    done[unit.number] = receipt
                    refusals += refused
                    count += len(receipt.fetched)
                    ports.progress("files", count, total)
                start()
    if retryable is not None:
        raise retryable
    if out_of_time:
        raise OutOfTime(count, begun)
    receipts = [done[number] for number in sorted(done)]
    fetched = tuple(item for receipt in receipts for item in receipt.fetched)
    return Receipt(fetched, tuple(item for receipt in receipts for item in receipt.missing)), refusals


class _Transfers:
    """What the threads of one harvest share; each unit is independent of the others."""

    def __init__(self, archive: ArchiveView, ports: Ports, stored: Stored, origin: Origin) -> None:
        self._ports = ports
        self._without_closed = bool(archive.step.input.get("metadata_only"))
        self._origin = origin
        self._bucket = ports.settings.bucket_sips
        self._prefix = f"{archive.id}/{stored.folder}/"
        self._receipts = f"{archive.id}/receipts/{stored.generation}/"
        self._partials = f"{archive.id}/partial/{stored.generation}/"

    def receipts(self) -> dict[int, Receipt]:
        """Results of the units that are done, by number."""
        found = {}
        for item in self._ports.store.list(self._bucket, self._receipts):
            number = int(item.ref.key.removeprefix(self._receipts).removesuffix(".json"))
            found[number] = read_receipt(self._ports.store.read(item.ref))
        return found

    def unit(self, unit: Unit) -> tuple[Receipt, list[FileRefused]]:
        """Fetch the files of a unit; its receipt is written only when none was refused."""
        fetched: list[Fetched] = []
        missing: list[tuple[str, str]] = []
        refusals: list[FileRefused] = []
        for file in unit.files:
            if self._ports.deadline.near():
                raise OutOfTime
            try:
                fetched.append(self._fetch(file, unit))
            except (Rejected, UpstreamUnavailable) as error:
                if self._dispensable(file, error):
                    missing.append((file.path, error.message))
                elif isinstance(error, FileRefused):
                    refusals.append(error)
                elif isinstance(error, Rejected):
                    refusals.append(FileRefused(error.message, code=error.code, path=file.path, found=error.message))
                else:
                    raise
        receipt = Receipt(tuple(fetched), tuple(missing))
        if not refusals:
            key = f"{self._receipts}{unit.number:06d}.json"
            self._ports.store.put(self._bucket, key, receipt.to_json(), content_type="application/json")
        return receipt, refusals

    def _dispensable(self, file: PlannedFile, error: Rejected | UpstreamUnavailable) -> bool:
        """Whether the harvest is complete without this file: an optional one, or a closed one that nobody wants."""
        if error.code == "upstream-closed" and self._without_closed:
            return True
        return file.optional and getattr(error, "retry_after", None) is None

    def _fetch(self, file: PlannedFile, unit: Unit) -> Fetched:
        key = self._prefix + file.path
        near = self._ports.deadline.near
        # A file that may have to be gone on with is alone in its unit.
        partial = f"{self._partials}{unit.number:06d}.json" if len(unit.files) == 1 else None
        most = self._ports.settings.harvest_file_bytes
        return fetch(
            file, self._origin, self._ports.store, self._bucket, key, out_of_time=near, partial=partial, most=most
        )
