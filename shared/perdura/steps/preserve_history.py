"""What happened before an AIP is made: told by the producer's own PREMIS, recorded in the log; however much it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Self
from uuid import UUID

from perdura.outcome import Finding
from perdura.packages.spool import Spool
from perdura.ports import Ports
from perdura.premis.model import Agent, Event
from perdura.premis.xml import event_from, event_xml, parse
from perdura.steps.preserve_builtin_plan import Plan
from perdura.steps.preserve_copied import Copied, CopiedFiles
from perdura.steps.preserve_declared import COMPUTED
from perdura.steps.preserve_import import PLACES, Imported, imported
from perdura.steps.preserve_submission import Submission
from perdura.storage.timed import TimeUp

TOGETHER = 10_000
"""Events told by the producer that are recorded in the transaction that ends the step; more are recorded before it."""
_BATCH = 1000


class History:
    """Events of earlier, as PREMIS 3 elements on local disk: read as often as wanted, those of the producer first."""

    def __init__(self) -> None:
        self.named: dict[tuple[str, str], None] = {}
        """(type, value) of every agent that an event names."""
        self.agents: list[Agent] = []
        """Those that the producer describes."""
        self.findings: list[Finding] = []
        self._told: list[Imported] = []
        self._recorded = Spool()
        self._known: set[UUID] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for spool in (self._recorded, *(each.texts for each in self._told)):
            spool.close()

    def __iter__(self) -> Iterator[str]:
        """Every event, once."""
        yield from self.new()
        yield from self._recorded

    def new(self) -> Iterator[str]:
        """Events of the producer that are not in the log yet."""
        for each in self._told:
            for identity, text in zip(each.ids, each.texts, strict=True):
                if identity not in self._known:
                    yield text

    @property
    def _unrecorded(self) -> int:
        """How many events of the producer are not in the log yet."""
        return sum(len(each.ids) for each in self._told) - len(self._known)

    def tell(self, found: Imported) -> None:
        """Add what a document of the producer says; before anything is recorded."""
        self._told.append(found)
        self.named |= found.named
        self.agents += found.agents.values()
        self.findings += found.findings

    def record(self, events: Iterable[Event], ports: Ports) -> None:
        """Add the events of the log, oldest first; raises TimeUp."""
        told = {identity for each in self._told for identity in each.ids}
        for number, event in enumerate(events):
            if number % _BATCH == _BATCH - 1 and ports.deadline.near():
                raise TimeUp
            if event.id in told:
                self._known.add(event.id)
            self.named.update(dict.fromkeys((link.type, link.value) for link in event.agents))
            self._recorded.add(event_xml(event, "3.0"))

    def to_be_recorded(self, ports: Ports) -> Sequence[Event]:
        """Events of the producer for the transaction that ends the step: all, or none when they are many.

        Those are recorded here, in transactions of their own; raises TimeUp, after which it may be done again.
        """
        new = (event_from(parse(text.encode()), stored=True) for text in self.new())
        if self._unrecorded <= TOGETHER:
            return tuple(new)
        while batch := list(islice(new, _BATCH)):
            ports.record(batch)
            if ports.deadline.near():
                raise TimeUp
        return ()


def gather(history: History, plan: Plan, submission: Submission, copied: Copied) -> None:
    """Fill it with what the SIP's PREMIS documents say and with the log's events of the Archive; raises TimeUp.

    Their licences join those of the other descriptions.
    """
    index, members = submission.layout.index, submission.container.members
    documents = [path for path in PLACES if path in index]
    if documents:
        files = _Files(copied.files)
        for path in documents:
            read, size = partial(submission.read, path), members[index[path]].size
            found = imported(path, size, read, plan.archive.id, files, plan.created)
            copied.rights.licences.update(found.licences)
            history.tell(found)
    history.record((plan.ports.extras or {}).get("earlier_events", ()), plan.ports)


class _Files:
    """The copied files by the paths that they have in the submission."""

    def __init__(self, files: CopiedFiles) -> None:
        self._files = files
        self._numbers = {file.original: file.number for file in files}

    def number(self, path: str, /) -> int | None:
        return self._numbers.get(path)

    def id(self, number: int, /) -> str:
        return self._files.id(number)

    def said(self, number: int, /) -> Mapping[str, str]:
        member = self._files[number].member
        return {"size": str(member.size), **{name: member.digests[name] for name in COMPUTED}}
