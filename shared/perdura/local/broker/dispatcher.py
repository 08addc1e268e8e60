"""Moves events from acceptance to their subscribers, retries, routes replies, sends dead letters.

The steps are those of serverless.md §1.7. An accepted event starts on its way in the same turn of the event loop;
waits are timers. Each Trigger has its own lane, so that a slow subscriber holds up nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter, deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from perdura.errors import DatabaseUnavailable
from perdura.local.broker.delivery import (
    ATTEMPT_TIMEOUT,
    Delivered,
    Failed,
    Mode,
    Replied,
    Verdict,
    judge,
    reply_refused,
    timed_out,
    unreachable,
)
from perdura.local.broker.envelope import TTL, Envelope, binary, now, structured
from perdura.local.broker.exchange import Client, NoAnswer
from perdura.local.broker.journal import Entry, Journal, Stage
from perdura.local.broker.topology import Addresses, NoAddress, Topology, Trigger

log = logging.getLogger(__name__)

CONCURRENCY = 16
"""Deliveries of one Trigger at the same time."""

HELD_LIMIT = 10_000
"""Entries held in memory; what comes beyond stays in the database until there is room."""

HELD_BYTES = 128 * 2**20
"""Data of these entries in bytes."""

ADOPT_EVERY = 2.0
"""Seconds between looks for what other processes left behind."""

ADOPT_BATCH = 500
"""Entries taken over at once: each may be as large as the ingress lets in."""

TTL_START = 255
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_GRACE = 1.0


class TtlUsedUp(Exception):
    """An event has been through the broker too often."""


@dataclass(slots=True)
class _Lane:
    """The queue of one Trigger."""

    trigger: Trigger
    waiting: deque[Entry] = field(default_factory=deque)
    running: int = 0


class Dispatcher:
    """Delivers what is accepted, as the broker of that mode would."""

    def __init__(
        self,
        topology: Topology,
        mode: Mode,
        journal: Journal,
        addresses: Addresses,
        *,
        url: str,
        concurrency: int = CONCURRENCY,
        token: str | None = None,
    ) -> None:
        self.topology, self.mode = topology, mode
        self.counts: Counter[str] = Counter()
        self._journal, self._addresses = journal, addresses
        self._url, self._concurrency = url, concurrency
        self._client = Client(token)
        self._lanes = {trigger.name: _Lane(trigger) for group in topology.triggers.values() for trigger in group}
        self._held = self._held_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._left = False
        self._closing = False

    async def start(self) -> None:
        """Take over what earlier processes left, and go on looking for it. Raises DatabaseUnavailable."""
        await self._journal.start()
        await self._adopt()
        self._spawn(self._adopt_for_ever())

    async def accept(self, broker: str, event: Envelope) -> bool:
        """Take responsibility for an event of a broker: once it returns, the event is not lost.

        In mode `sync` it returns after all deliveries, False if one of them failed for good. Raises TtlUsedUp
        and DatabaseUnavailable.
        """
        event = self._arrived(event)
        wanted = self._wanting(broker, event)
        self.counts["accepted"] += 1
        if self.mode is Mode.SYNC:
            return all(await asyncio.gather(*(self._deliver_now(trigger, event) for trigger in wanted)))
        await self._add([self._entry(trigger, event) for trigger in wanted])
        return True

    def status(self) -> dict[str, int]:
        """How many entries wait and are being delivered, and what has been counted since the start."""
        return {
            "queued": self._held - sum(lane.running for lane in self._lanes.values()),
            "in_flight": sum(lane.running for lane in self._lanes.values()),
            **{name: self.counts[name] for name in ("accepted", "delivered", "retried", "dead_lettered", "dropped")},
        }

    async def count_dead(self) -> int:
        """How many entries could be delivered neither to their subscriber nor to a dead letter sink."""
        return await self._journal.count_dead()

    async def close(self) -> None:
        """Let running deliveries end for a moment, then leave everything else to the journal."""
        self._closing = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_GRACE if self._is_delivering() else 0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._journal.close()
        await self._client.aclose()

    def _is_delivering(self) -> bool:
        return any(lane.running for lane in self._lanes.values())

    def _arrived(self, event: Envelope) -> Envelope:
        """The event with the marks of the ingress. Raises TtlUsedUp."""
        if not self.mode.is_channel_based:
            return event
        ttl = event.attributes.get(TTL, "")
        hops = int(ttl) - 1 if _NUMBER.fullmatch(ttl) else TTL_START
        if hops <= 0:
            raise TtlUsedUp
        return event.with_attributes(knativearrivaltime=now(), knativebrokerttl=str(hops))

    def _wanting(self, broker: str, event: Envelope) -> list[Trigger]:
        return [trigger for trigger in self.topology.triggers[broker] if trigger.wants(event)]

    def _entry(self, trigger: Trigger, event: Envelope) -> Entry:
        return Entry(self._journal.new_id(), trigger.name, event)

    async def _add(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        size = sum(len(entry.event.body) for entry in entries)
        full = self._held + len(entries) > HELD_LIMIT or self._held_bytes + size > HELD_BYTES
        await self._journal.add(entries, leave=full)
        if full:
            self._left = True
            return
        for entry in entries:
            self._take(entry)

    def _take(self, entry: Entry) -> None:
        """Hold an entry, and start it when it is due."""
        self._held += 1
        self._held_bytes += len(entry.event.body)
        self._schedule(entry)

    def _schedule(self, entry: Entry) -> None:
        lane = self._lanes[entry.trigger]
        if entry.due > 0:
            asyncio.get_running_loop().call_later(entry.due, self._enqueue, lane, entry)
        else:
            self._enqueue(lane, entry)

    def _enqueue(self, lane: _Lane, entry: Entry) -> None:
        lane.waiting.append(entry)
        self._pump(lane)

    def _pump(self, lane: _Lane) -> None:
        while lane.waiting and lane.running < self._concurrency and not self._closing:
            lane.running += 1
            self._spawn(self._work(lane, lane.waiting.popleft()))

    async def _work(self, lane: _Lane, entry: Entry) -> None:
        """One attempt of one entry and what follows from it."""
        try:
            verdict = await self._attempt(lane.trigger, entry.event, entry.stage)
            await self._follow(lane.trigger, entry, verdict)
        except Exception as error:
            log.exception("a delivery of %s broke", lane.trigger.name)
            self._failed(lane.trigger, entry, Failed(type(error).__name__, retry=True))
        finally:
            lane.running -= 1
            self._pump(lane)

    async def _attempt(self, trigger: Trigger, event: Envelope, stage: Stage) -> Verdict:
        destination = trigger.subscriber if stage is Stage.SUBSCRIBER else trigger.delivery.dead_letter_sink
        try:
            url = self._addresses.resolve(destination or {})
        except NoAddress as error:
            return unreachable(self.mode, "", error.message)
        sent = event.with_attributes(**{TTL: None}) if self.mode.is_channel_based else event
        if self.mode is Mode.RABBITMQ and "time" not in sent.attributes:
            sent = sent.with_attributes(time=now())
        headers, body = structured(sent) if trigger.delivery.structured else (binary(sent), sent.body)
        headers += list((sent.headers or {}).items())
        if self.mode is not Mode.RABBITMQ:
            headers.append(("kn-namespace", trigger.broker.partition("/")[0]))
            if stage is Stage.SUBSCRIBER:
                headers.append(("prefer", "reply"))
        limit = trigger.delivery.timeout or ATTEMPT_TIMEOUT[self.mode]
        try:
            async with asyncio.timeout(limit):
                response = await self._client.post(url, headers, body, redirects=self.mode.is_channel_based)
        except TimeoutError:
            return timed_out(self.mode, url)
        except NoAnswer as error:
            return unreachable(self.mode, url, str(error))
        return judge(self.mode, url, response)

    async def _follow(self, trigger: Trigger, entry: Entry, verdict: Verdict) -> None:
        replies: list[Entry] = []
        if isinstance(verdict, Replied):
            verdict, replies = self._route(trigger, entry, verdict)
        if isinstance(verdict, Failed):
            self._failed(trigger, entry, verdict)
            return
        while True:
            try:
                await self._journal.finish(entry, replies)
                break
            except DatabaseUnavailable as error:
                log.warning("a reply waits for the database: %s", error.message)
        self._release(entry)
        self.counts["dropped" if isinstance(verdict, Delivered) and verdict.dropped else "delivered"] += 1
        for reply in replies:
            self._take(reply)

    def _route(self, trigger: Trigger, entry: Entry, replied: Replied) -> tuple[Verdict, list[Entry]]:
        """What the broker's own ingress makes of a reply: new entries, or a refusal (serverless.md §1.7.5)."""
        if self.mode.is_channel_based and entry.stage is Stage.DEAD_LETTER:
            return Delivered(), []
        if replied.event is None:
            return reply_refused(self._broker_url(trigger)), []
        event = replied.event
        if self.mode.is_channel_based:
            event = event.with_attributes(**{TTL: entry.event.attributes.get(TTL)})
        try:
            event = self._arrived(event)
        except TtlUsedUp:
            return reply_refused(self._broker_url(trigger)), []
        return Delivered(), [self._entry(wanting, event) for wanting in self._wanting(trigger.broker, event)]

    def _failed(self, trigger: Trigger, entry: Entry, failure: Failed) -> None:
        """Wait and try again, or the dead letter sink, or the end."""
        entry.attempts += 1
        entry.reason = failure.reason
        if failure.retry and entry.attempts <= trigger.delivery.retry:
            entry.due = trigger.delivery.gap(self.mode, entry.attempts)
            self.counts["retried"] += 1
        elif entry.stage is Stage.SUBSCRIBER and trigger.delivery.dead_letter_sink is not None:
            log.warning("dead letter: %s of %s: %s", entry.event.attributes["id"], trigger.name, failure.reason)
            entry.event = entry.event.with_attributes(**failure.extensions)
            entry.stage, entry.attempts, entry.due = Stage.DEAD_LETTER, 0, 0.0
            self.counts["dead_lettered"] += 1
        else:
            log.error("undeliverable: %s of %s: %s", entry.event.attributes["id"], trigger.name, failure.reason)
            entry.stage = Stage.DEAD
        self._journal.update(entry)
        if entry.stage is Stage.DEAD:
            self._release(entry)
        else:
            self._schedule(entry)

    async def _deliver_now(self, trigger: Trigger, event: Envelope) -> bool:
        """The synchronous channel: the producer waits for subscriber, replies and dead letter (§1.7.7)."""
        stage = Stage.SUBSCRIBER
        attempts = 0
        while True:
            verdict = await self._attempt(trigger, event, stage)
            if isinstance(verdict, Replied) and stage is Stage.SUBSCRIBER:
                verdict = await self._route_now(trigger, event, verdict)
            if not isinstance(verdict, Failed):
                self.counts["delivered"] += 1
                return True
            attempts += 1
            if verdict.retry and attempts <= trigger.delivery.retry:
                self.counts["retried"] += 1
                await asyncio.sleep(trigger.delivery.gap(self.mode, attempts))
            elif stage is Stage.SUBSCRIBER and trigger.delivery.dead_letter_sink is not None:
                event, stage, attempts = event.with_attributes(**verdict.extensions), Stage.DEAD_LETTER, 0
                self.counts["dead_lettered"] += 1
            else:
                return False

    async def _route_now(self, trigger: Trigger, event: Envelope, replied: Replied) -> Verdict:
        """Send a reply to the own ingress with the same retry rules, without asking the subscriber again."""
        if replied.event is None:
            return reply_refused(self._broker_url(trigger))
        reply = replied.event.with_attributes(**{TTL: event.attributes.get(TTL)})
        for attempts in range(1, trigger.delivery.retry + 2):
            try:
                if await self.accept(trigger.broker, reply):
                    return Delivered()
            except TtlUsedUp:
                return reply_refused(self._broker_url(trigger))
            await asyncio.sleep(trigger.delivery.gap(self.mode, attempts))
        extensions = {"knativeerrordest": self._broker_url(trigger), "knativeerrorcode": "500", "knativeerrordata": ""}
        return Failed("the reply could not be delivered", retry=False, extensions=extensions)

    def _broker_url(self, trigger: Trigger) -> str:
        return f"{self._url}/{trigger.broker}"

    def _release(self, entry: Entry) -> None:
        self._held -= 1
        self._held_bytes -= len(entry.event.body)
        if self._left and self._has_room():
            self._room.set()

    def _has_room(self) -> bool:
        return self._held < HELD_LIMIT // 2 and self._held_bytes < HELD_BYTES // 2

    async def _adopt_for_ever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(ADOPT_EVERY):
                    await self._room.wait()
            except TimeoutError:
                pass
            self._room.clear()
            try:
                await self._adopt()
            except DatabaseUnavailable as error:
                log.warning("cannot look for left events: %s", error.message)

    async def _adopt(self) -> None:
        if not self._lanes or not self._has_room():
            return
        batch = min(HELD_LIMIT // 2, ADOPT_BATCH)
        entries = await self._journal.adopt(list(self._lanes), batch)
        self._left = len(entries) == batch
        for entry in entries:
            self._take(entry)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
