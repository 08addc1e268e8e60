"""What invocations verified of an AIP, put down for those that go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from perdura.errors import NotStored
from perdura.packages.receipt import from_bytes, to_bytes
from perdura.ports import Ports


class Receipts:
    """Digests that invocations put down for those after them; `found` are those of this one."""

    def __init__(self, prefix: str, keys: tuple[str, ...], ports: Ports) -> None:
        """`prefix` names the state of the package that they are of; receipts of another state are not looked at."""
        self.algorithms: tuple[str, ...] = ()
        self.found: dict[int, Sequence[bytes]] = {}
        self._prefix, self._keys = prefix, tuple(each for each in keys if each.startswith(prefix))
        self._store, self._bucket = ports.store, ports.settings.bucket_sips

    def earlier(self) -> Iterator[tuple[int, Mapping[str, bytes]]]:
        """Member index and digests of what earlier invocations put down; what is lost of it has to be read again."""
        for key in self._keys:
            with suppress(NotStored):
                yield from from_bytes(self._store.read(self._store.head(self._bucket, key).ref))

    def put_down(self) -> tuple[str, ...]:
        """Store what was found; gives the keys of all receipts."""
        if not self.found:
            return self._keys
        key = f"{self._prefix}{len(self._keys):04}"
        self._store.put(self._bucket, key, to_bytes(self.algorithms, self.found))
        return (*self._keys, key)
