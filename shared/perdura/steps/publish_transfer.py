"""Files of a draft brought to what they shall be: skipped, replaced, uploaded, fetched, deleted.

Only MD5 and size after the commit count. MD5 is what the server tells; it is computed from the bytes that are sent,
which are at the same time compared with the SHA-256 of the AIP's index. What the server is still at work on is left
alone: a file whose MD5 it computes is all there, and one that it fetches is on its way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from perdura.clients.inveniordm.files import Files
from perdura.clients.inveniordm.model import FileEntry
from perdura.clients.inveniordm.wire import RdmForbidden, RdmRefused, RdmTooLarge, RdmUnknown
from perdura.errors import Broken, Rejected
from perdura.packages.long_digest import SAVED_AT, START, LongDigest, resumes
from perdura.steps.publish_compared import LONGEST, await_server, compare, unlike
from perdura.steps.publish_sent import ALGORITHMS, Begun
from perdura.steps.publish_wanted import Sending, Wanted, check_keys

log = logging.getLogger(__name__)

MOST_PARTS = 10_000
LOOKS = 10
"""Looks at what the server begins to compute or fetch before it is left to later invocations, which look once."""

PAUSE = 1.0
"""Seconds between two of them."""

SPOILT = 3
"""Times that a server may store other bytes than were sent."""


def place_files(files: Files, record: str, wanted: Sequence[Wanted], sending: Sending, *, empty: bool = False) -> None:
    """Make the files of a draft those that are wanted; what is there and right is left alone.

    `empty` spares the look at a draft that was made just now. Raises Rejected for names that no record can hold,
    RdmUnknown when the server stored other bytes than were sent, OutOfTime when the next invocation has to go on, and
    AtWork when a later one has to because the server computes or fetches.
    """
    problem = check_keys(wanted)
    if problem is not None:
        raise Rejected(f"{problem}; let this destination take its DIPs as one zip.", code="file-name-refused")
    if not wanted:
        return
    awaited: set[str] = set()
    for look in range(1 if sending.sent.awaited else LOOKS):
        if look and sending.near():
            break
        if look:
            sending.wait(PAUSE)
        present = {} if empty and not look else {entry.key: entry for entry in files.list(record)}
        awaited = _place(files, record, wanted, sending, present)
        sending.sent.note_awaited(awaited, sending.now())
        if not awaited:
            return
    raise await_server(awaited, sending)


def _place(
    files: Files, record: str, wanted: Sequence[Wanted], sending: Sending, present: Mapping[str, FileEntry]
) -> set[str]:
    """Do what can be done now; gives the files on which the server is at work."""
    complete = {key: entry for key, entry in present.items() if entry.complete}
    compared = compare(complete, wanted, sending)
    for key in compared.unlike.keys() & sending.sent.awaited.keys():
        _spoilt(files, record, key, compared.unlike[key], sending)
    awaited = compared.untold | _fetched(present, wanted, sending)
    right = complete.keys() & {file.key for file in wanted} - compared.unlike.keys()
    begun = {key for key, entry in present.items() if _is_begun(entry, record, sending)}
    if not begun:
        sending.sent.begun = None
    for key in present.keys() - right - awaited - begun:
        files.delete(record, key)
    sending.sent.note_awaited(awaited, sending.now())
    missing = sorted(
        (file for file in wanted if file.key not in right | awaited), key=lambda file: file.key not in begun
    )
    at_once = {file.key for file in missing if file.size <= sending.multipart_above and not sending.fetches(file)}
    at_once -= begun
    if at_once:
        files.announce(record, [_announcement(file) for file in missing if file.key in at_once])
    total, sent = sum(file.size for file in missing), 0
    for file in missing:
        sending.in_time()
        if not _upload(files, record, file, sending, announced=file.key in at_once):
            awaited.add(file.key)
        if file.md5 is not None:
            sending.sent.md5[file.key] = file.md5
        sent += file.size
        sending.tell("uploading", sent, total)
    return awaited


def _fetched(present: Mapping[str, FileEntry], wanted: Sequence[Wanted], sending: Sending) -> set[str]:
    """What the server fetches at this moment. What it could not fetch, or not within long, is noted to be sent."""
    under_way: set[str] = set()
    for file in wanted:
        entry = present.get(file.key)
        if entry is None or entry.transfer != "F" or entry.complete or not sending.fetches(file):
            continue
        if entry.status != "failed" and sending.sent.awaited_for(file.key, sending.now()) <= LONGEST:
            under_way.add(file.key)
            continue
        log.warning("the access system could not fetch %s (%s); it is uploaded", file.key, entry.status)
        sending.sent.unfetched.add(file.key)
    return under_way


def _is_begun(entry: FileEntry, record: str, sending: Sending) -> bool:
    begun = sending.sent.begun
    return begun is not None and (begun.record, begun.key) == (record, entry.key) and bool(entry.parts)


def _upload(files: Files, record: str, file: Wanted, sending: Sending, *, announced: bool) -> bool:
    """One file, and once more when the server took it with `errors`: then nothing of it is stored.

    Gives whether the server has said that it is right.
    """
    begun = sending.sent.begun
    if begun is not None and (begun.record, begun.key) == (record, file.key):
        return _is_right(files, record, file, _in_parts(files, record, file, sending), sending)
    if sending.fetches(file) and _asked_to_fetch(files, record, file, sending):
        return False
    try:
        return _send(files, record, file, sending, announced=announced)
    except RdmRefused as error:
        if error.status != 200:
            raise
        files.delete(record, file.key)
        return _send(files, record, file, sending, announced=False)


def _send(files: Files, record: str, file: Wanted, sending: Sending, *, announced: bool) -> bool:
    if file.size > sending.multipart_above:
        entry = _in_parts(files, record, file, sending)
    else:
        if not announced:
            files.announce(record, [_announcement(file)])
        try:
            files.send(record, file.key, file.whole, file.size)
        except RdmTooLarge:
            files.delete(record, file.key)
            entry = _in_parts(files, record, file, sending)
        else:
            entry = files.commit(record, file.key)
    return _is_right(files, record, file, entry, sending)


def _announcement(file: Wanted, **more: Any) -> dict[str, Any]:
    metadata = {"metadata": dict(file.details)} if file.details else {}
    return {"key": file.key, "size": file.size, **metadata, **more}


def part_size(size: int, wanted: int) -> int:
    """Bytes of a part of so long a file: what is wanted, and more where that would be too many parts.

    A multiple of `SAVED_AT`, so that the file can be gone on with after every part.
    """
    least = max(wanted, -(-size // MOST_PARTS))
    return -(-least // SAVED_AT) * SAVED_AT


def _in_parts(files: Files, record: str, file: Wanted, sending: Sending) -> FileEntry:
    size = part_size(file.size, sending.part_size)
    count = max(1, -(-file.size // size))
    digest = LongDigest(ALGORITHMS, sending.sent.parts_of(record, file.key, size) or START)
    if digest.offset:
        entry = files.one(record, file.key)
    else:
        if sending.sent.begun is not None:
            files.delete(record, file.key)
        transfer = {"type": "M", "parts": count, "part_size": size}
        (entry,) = files.announce(record, [_announcement(file, transfer=transfer)])
    sending.sent.begun = None
    if set(entry.parts) != set(range(1, count + 1)):
        raise RdmRefused(f"The access system offers {len(entry.parts)} parts for {file.key}, not {count}.", 201)
    resumable = resumes(ALGORITHMS)
    for number in range(digest.offset // size + 1, count + 1):
        begin = (number - 1) * size
        length = min(size, file.size - begin)
        _send_part(files, entry.parts[number], file, begin, length, digest)
        sending.tell(f"uploading {file.key}", begin + length, file.size)
        if number < count and resumable and digest.offset % SAVED_AT == 0:
            sending.sent.begun = Begun(record, file.key, size, digest.state())
            sending.in_time()
    sending.sent.begun = None
    found = digest.digests()
    if file.sha256 not in (None, found["sha256"].hex()):
        raise Broken(f"{file.key} is not what the index of the AIP says; nothing was published.", code="bad-aip")
    file.md5 = found["md5"].hex()
    return files.commit(record, file.key)


def _send_part(files: Files, url: str, file: Wanted, begin: int, length: int, digest: LongDigest) -> None:
    """One part; its bytes are counted, because a server takes a short one without complaint at the commit."""
    counted = 0

    def content() -> Iterable[bytes]:
        nonlocal counted
        for chunk in file.read(begin, length):
            digest.update(chunk)
            counted += len(chunk)
            yield bytes(chunk)

    files.send_part(url, content, length)
    if counted != length:
        raise Broken(f"{file.key} is shorter than the index of the AIP says.", code="bad-aip")


def _is_right(files: Files, record: str, file: Wanted, entry: FileEntry, sending: Sending) -> bool:
    """Whether MD5 and size after the commit are ours; False while the server tells no MD5."""
    if entry.md5 is None and entry.size == file.size:
        return False
    reason = unlike(entry, file, sending)
    if reason is not None:
        _spoilt(files, record, file.key, reason, sending)
    return True


def _spoilt(files: Files, record: str, key: str, reason: str, sending: Sending) -> NoReturn:
    """Take away what is not what was sent, or fetched; it is sent again, but not for ever."""
    files.delete(record, key)
    sent = sending.sent
    sent.awaited.pop(key, None)
    sent.unfetched.add(key)
    sent.spoilt[key] = sent.spoilt.get(key, 0) + 1
    if sent.spoilt[key] >= SPOILT:
        raise Broken(f"{key} was stored {reason}, {SPOILT} times; nothing was published.", code="wrong-bytes")
    raise RdmUnknown(f"{key} was stored {reason}; it will be sent again.", retry_after=5)


def _asked_to_fetch(files: Files, record: str, file: Wanted, sending: Sending) -> bool:
    """Ask the server to fetch the file itself; False where the instance does not let us."""
    assert file.link is not None
    try:
        files.announce(record, [_announcement(file, transfer={"type": "F", "url": file.link()})])
    except (RdmRefused, RdmForbidden) as error:
        log.warning("the access system does not fetch: %s", error.message)
        files.delete(record, file.key)
        sending.sent.unfetched.add(file.key)
        return False
    return True
