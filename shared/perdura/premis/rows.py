"""From an event to what the log stores of it: rendered XML, the leaf of the tree, links and kind. No I/O."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

from perdura.premis.model import Event, Identifier
from perdura.premis.xml.writer import event_xml

LEAF_SCHEMA = 1
CREATED, REPLACED, DELETED = "created", "replaced", "deleted"

_LONGEST_KEY = 500
_text: Callable[[str], str] = json.encoder.encode_basestring
_BLANK = " \t\r\n"
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\\A[ \t\r\n]+|[ \t\r\n]+\\Z")
_ARK = re.compile(r"(?:.*/)?ark:/?\d[\w.]*/(.+)", re.DOTALL)


@dataclass(slots=True)
class Row:
    """One event ready to be stored.

    `xml` is the rendered event, `sent` its canonical XML as it came, where that differs. `keys` are what its objects
    are found by, with the bare name of each that is an ARK; `agents` what its agents are found by; `listed` is how
    its objects are listed. `kind` is the id, type and distinct outcomes.
    """

    id: UUID
    identifier: str
    at: datetime
    premis: str | None
    xml: str
    sent: str | None
    leaf: str
    listed: str
    keys: dict[str, str | None]
    agents: list[str]
    kind: tuple[int, str, list[str]]


def object_key(value: str) -> str:
    """What an object is found by: its identifier, or a digest of one too long for an index."""
    if len(value) * 4 <= _LONGEST_KEY or len(value.encode("utf-8", "replace")) <= _LONGEST_KEY:
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


def leaf(event: Event, *, kind: str, version: int, xml: str, recorded_at: datetime, actor: str) -> str:
    """The text that the tree hashes: what the event says, when and by whom it was recorded, and its XML's digest.

    JSON as RFC 8785 writes it, of strings and integers only; times are UTC with microseconds (models.md 7.5).
    """
    return (
        f'{{"actor":{_text(actor)},"agents":{_linked(event.agents)},"at":"{_micro(event.at)}",'
        f'"event":"{event.id}","kind":"{kind}","objects":{_linked(event.objects)},'
        f'"outcomes":{_texts([each.outcome for each in event.outcomes])},'
        f'"premis":{"null" if event.version is None else _text(event.version)},"recorded":"{_recorded(recorded_at)}",'
        f'"schema":{LEAF_SCHEMA},"type":{_text(event.type)},"version":{version},'
        f'"xml":"{hashlib.sha256(xml.encode()).hexdigest()}"}}'
    )


def row(
    event: Event,
    *,
    sent: str | None,
    recorded_at: datetime,
    actor: str,
    shown: str | None = None,
    kind: str = CREATED,
    version: int = 1,
) -> Row:
    """The row of one event; `sent` is its canonical XML as it arrived, if it came from outside.

    `shown` is what the writer makes of it, if that is known.
    """
    event = _fitting(event) if event.version is None else event
    xml = event_xml(event) if shown is None else shown
    kept = sent if sent is not None and sent != xml else None
    values = list(dict.fromkeys([each.value for each in event.objects]))
    return Row(
        id=event.id,
        identifier=event.identifier_value,
        at=event.at,
        premis=event.version,
        xml=xml,
        sent=kept,
        leaf=leaf(event, kind=kind, version=version, xml=kept or xml, recorded_at=recorded_at, actor=actor),
        listed=", ".join(values),
        keys={object_key(each): bare_ark_name(each) for each in values},
        agents=list(dict.fromkeys([object_key(each.value) for each in event.agents])),
        kind=kind_of(event),
    )


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


def _linked(identifiers: Sequence[Identifier]) -> str:
    shown = [f"[{_text(each.type)},{_text(each.value)},{_texts(each.roles)}]" for each in identifiers]
    return f"[{','.join(shown)}]"


def _texts(texts: Sequence[str]) -> str:
    return f"[{','.join(map(_text, texts))}]" if texts else "[]"


def _micro(instant: datetime) -> str:
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return instant.isoformat(timespec="microseconds")[:26] + "Z"


@lru_cache(maxsize=16)
def _recorded(instant: datetime) -> str:
    """The same of the moment that all events of a batch are recorded at."""
    return _micro(instant)


def fit(text: str) -> str:
    """A text of our own as it is read again from XML, which cannot hold every character nor blanks around a value."""
    return text if _UNFIT.search(text) is None else _UNFIT.sub(_instead, text)


def _instead(found: re.Match[str]) -> str:
    return "" if found[0].strip(_BLANK) == "" else "\ufffd"


def _fitting(event: Event) -> Event:
    """An event of our own without what XML, PostgreSQL or UTF-8 cannot hold (paths may carry such characters)."""
    texts = [event.type, *(o.outcome for o in event.outcomes), *_values(event.agents), *_values(event.objects)]
    if not any(map(_UNFIT.search, texts)):
        return event
    return replace(
        event,
        type=fit(event.type),
        outcomes=tuple(replace(each, outcome=fit(each.outcome)) for each in event.outcomes),
        agents=tuple(map(_fitting_identifier, event.agents)),
        objects=tuple(map(_fitting_identifier, event.objects)),
    )


def _values(identifiers: Iterable[Identifier]) -> Iterable[str]:
    return (text for each in identifiers for text in (each.type, each.value, *each.roles))


def _fitting_identifier(identifier: Identifier) -> Identifier:
    return replace(
        identifier,
        type=fit(identifier.type),
        value=fit(identifier.value) or "\ufffd",
        roles=tuple(filter(None, map(fit, identifier.roles))),
    )
