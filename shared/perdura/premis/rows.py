"""From an event to what the log stores of it: rendered XML, the leaf of the tree, links and kind. No I/O."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from perdura.premis.model import Event, Identifier
from perdura.premis.xml.writer import event_xml

LEAF_SCHEMA = 1
CREATED, REPLACED, DELETED = "created", "replaced", "deleted"

_LONGEST_KEY = 500
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_ARK = re.compile(r"(?:.*/)?ark:/?\d[\w.]*/(.+)", re.DOTALL)
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Row:
    """One event ready to be stored; `links` name its objects (`ob`, and `ba`, a bare ARK name) and agents (`ag`)."""

    event: dict[str, Any]
    links: list[dict[str, Any]]
    kind: tuple[int, str, list[str]]


def object_key(value: str) -> str:
    """What an object is found by: its identifier, or a digest of one too long for an index."""
    if len(value.encode("utf-8", "replace")) <= _LONGEST_KEY:
        return value
    return "sha256:" + hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()


def bare_ark_name(value: str) -> str | None:
    """The name of an ARK without its label and NAAN: `coda1` of `ark:/67531/coda1`; None for anything else."""
    match = _ARK.fullmatch(value) if "ark:" in value else None
    return object_key(match[1]) if match else None


def kind_of(event: Event) -> tuple[int, str, list[str]]:
    """(id, type, distinct outcomes in their order); the id is derived from the others."""
    outcomes = tuple(dict.fromkeys([str(each.outcome) for each in event.outcomes if each.outcome]))
    return _kind_id(str(event.type), outcomes), str(event.type), list(outcomes)


@lru_cache(maxsize=256)
def _kind_id(type_: str, outcomes: tuple[str, ...]) -> int:
    digest = hashlib.sha256(json.dumps([type_, *outcomes]).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def canonical_json(value: object) -> str:
    """RFC 8785 for what leaves are made of: strings, integers, lists and objects with ASCII names."""
    return _canonical(value)


def leaf(event: Event, *, kind: str, version: int, xml: str, recorded_at: datetime, actor: str) -> str:
    """The text that the tree hashes: what the event says, when and by whom it was recorded, and its XML's digest.

    Times are UTC with microseconds (models.md 7.5).
    """
    return canonical_json(
        {
            "schema": LEAF_SCHEMA,
            "event": str(event.id),
            "version": version,
            "kind": kind,
            "recorded": _micro(recorded_at),
            "actor": actor,
            "premis": event.version,
            "type": event.type,
            "at": _micro(event.at),
            "outcomes": [each.outcome for each in event.outcomes],
            "agents": _linked(event.agents),
            "objects": _linked(event.objects),
            "xml": hashlib.sha256(xml.encode()).hexdigest(),
        }
    )


def row(
    event: Event,
    *,
    ordinal: int,
    sent: str | None,
    recorded_at: datetime,
    actor: str,
    kind: str = CREATED,
    version: int = 1,
) -> Row:
    """The row of one event; `sent` is its canonical XML as it arrived, if it came from outside."""
    event = _storable(event) if event.version is None else event
    xml = event_xml(event)
    kept = sent if sent is not None and sent != xml else None
    keys = list(dict.fromkeys(each.value for each in event.objects))
    kind_id, type_, outcomes = kind_of(event)
    stored = {
        "o": ordinal,
        "id": str(event.id),
        "i": event.identifier_value,
        "k": kind_id,
        "at": event.at.isoformat(),
        "v": event.version,
        "x": xml,
        "s": kept,
        "l": leaf(event, kind=kind, version=version, xml=kept or xml, recorded_at=recorded_at, actor=actor),
        "b": ", ".join(keys),
    }
    links: list[dict[str, Any]] = [
        {"o": ordinal, "ob": key, "ba": bare} for key, bare in {object_key(k): bare_ark_name(k) for k in keys}.items()
    ]
    links.extend({"o": ordinal, "ag": key} for key in {object_key(each.value): None for each in event.agents})
    return Row(stored, links, (kind_id, type_, outcomes))


def sealing(event_id: UUID, previous_checkpoint: bytes | None, size: int, at: datetime, organisation: str) -> Event:
    """The event of a sealing: it names the checkpoint before it, so that each head contains the last one."""
    digest = hashlib.sha256(previous_checkpoint).hexdigest() if previous_checkpoint else "none"
    return Event(
        id=event_id,
        type="digital signature generation",
        at=at,
        details=(f"Sealing of the log beyond {size} leaves. SHA-256 of the previous checkpoint: {digest}",),
        agents=(Identifier("local", organisation, ("executing program",)),),
    )


def _linked(identifiers: Sequence[Identifier]) -> list[list[object]]:
    return [[each.type, each.value, list(each.roles)] for each in identifiers]


def _micro(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _storable(event: Event) -> Event:
    """An event of our own without what neither PostgreSQL nor UTF-8 can hold (paths may carry such characters)."""
    texts = [event.type, *(o.outcome for o in event.outcomes), *_values(event.agents), *_values(event.objects)]
    if not any(map(_NO_TEXT.search, texts)):
        return event
    return replace(
        event,
        type=_NO_TEXT.sub("�", event.type),
        outcomes=tuple(replace(each, outcome=_NO_TEXT.sub("�", each.outcome)) for each in event.outcomes),
        agents=tuple(map(_storable_identifier, event.agents)),
        objects=tuple(map(_storable_identifier, event.objects)),
    )


def _values(identifiers: Iterable[Identifier]) -> Iterable[str]:
    return (text for each in identifiers for text in (each.type, each.value, *each.roles))


def _storable_identifier(identifier: Identifier) -> Identifier:
    return replace(
        identifier,
        type=_NO_TEXT.sub("�", identifier.type),
        value=_NO_TEXT.sub("�", identifier.value),
        roles=tuple(_NO_TEXT.sub("�", role) for role in identifier.roles),
    )
