"""Files that a server has, held against those that a record shall have: by size, and by the MD5 that it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from perdura.clients.inveniordm.model import FileEntry
from perdura.errors import Broken
from perdura.packages.long_digest import SAVED_AT, LongDigest
from perdura.steps.publish_sent import ALGORITHMS, AtWork, OutOfTime, Reading
from perdura.steps.publish_wanted import Sending, Wanted

LONGEST = timedelta(days=1)
"""Nobody waits longer for what a server computes or fetches: by then its background tasks do not run."""


@dataclass(slots=True)
class Compared:
    """Why files are not the wanted ones of their names, by key; and those of which no MD5 is told yet."""

    unlike: dict[str, str] = field(default_factory=dict)
    untold: set[str] = field(default_factory=set)


def compare(stored: Mapping[str, FileEntry], wanted: Sequence[Wanted], sending: Sending) -> Compared:
    """Hold committed files against the wanted ones.

    A server computes the MD5 of a file in parts in the background, and reads all of it for that. Raises OutOfTime
    between two files and within a long one, Broken when a server has told no MD5 for too long.
    """
    found = Compared()
    for file in wanted:
        entry = stored.get(file.key)
        if entry is None:
            continue
        if entry.md5 is None and entry.size == file.size:
            found.untold.add(file.key)
            continue
        reason = unlike(entry, file, sending)
        if reason is not None:
            found.unlike[file.key] = reason
    _not_too_long(found.untold, sending)
    return found


def unlike(entry: FileEntry, wanted: Wanted, sending: Sending) -> str | None:
    """Why a stored file is not the wanted one; None when it is, by size and MD5."""
    if entry.size != wanted.size:
        return f"of {entry.size} bytes instead of {wanted.size}"
    md5 = _md5(wanted, sending)
    return None if entry.md5 == md5 else f"with the MD5 {entry.md5} instead of {md5}"


def differences(
    stored: Sequence[FileEntry], wanted: Sequence[Wanted], sending: Sending
) -> tuple[Sequence[str], set[str]]:
    """How the files of a record differ from the wanted ones, and those of which no MD5 is told yet."""
    found = {entry.key: entry for entry in stored}
    expected = [file.key for file in wanted]
    compared = compare(found, wanted, sending)
    wrong = [
        *(f"{key} which was not sent" for key in found.keys() - set(expected)),
        *(f"{key} missing" for key in expected if key not in found),
        *(f"{key} {reason}" for key, reason in compared.unlike.items()),
    ]
    return wrong, compared.untold


def await_server(keys: set[str], sending: Sending) -> AtWork:
    """What to raise while the server is at work on these files."""
    now = sending.now()
    sending.sent.note_awaited(keys, now)
    return AtWork(keys, max(sending.sent.awaited_for(key, now) for key in keys))


def _md5(file: Wanted, sending: Sending) -> str:
    """MD5 of the file, from its bytes when they did not go by yet."""
    md5 = file.md5 or sending.sent.md5.get(file.key)
    if md5 is None:
        sending.in_time()
        md5 = _read(file, sending)
    file.md5 = sending.sent.md5[file.key] = md5
    return md5


def _read(file: Wanted, sending: Sending) -> str:
    """MD5 of all bytes of the file, which may take several invocations."""
    digest = LongDigest(ALGORITHMS, sending.sent.read_of(file.key))
    for chunk in file.read(digest.offset, file.size - digest.offset) if file.size else ():
        digest.update(chunk)
        sending.tell(f"comparing {file.key}", digest.offset, file.size)
        if digest.offset < file.size and digest.offset % SAVED_AT == 0 and sending.near():
            sending.sent.reading = Reading(file.key, digest.state())
            raise OutOfTime
    sending.sent.reading = None
    found = digest.digests()
    return file.proven(digest.offset, found["md5"].hex(), found["sha256"].hex())


def _not_too_long(keys: set[str], sending: Sending) -> None:
    now = sending.now()
    late = sorted(key for key in keys if sending.sent.awaited_for(key, now) > LONGEST)
    if late:
        raise Broken(
            f"The access system has told no MD5 of {', '.join(late[:5])} for {LONGEST.days} day: its background tasks "
            "do not seem to run. What was sent is there.",
            code="access-system-tells-no-md5",
        )
