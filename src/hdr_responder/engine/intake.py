"""Deliveries become alerts and incidents.

One intake works at a time over all replicas, on a batch of deliveries, with a fixed number of statements a batch; that
keeps occurrences free of races and a storm cheap. A delivery that cannot be processed is parked and opens an incident
that pages: nothing is dropped in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from hdr_responder.documents.catalogue import Documents
from hdr_responder.domain.alerts import AlertEvent, AlertStatus, EventKind, History, Occurrence, Presence
from hdr_responder.domain.clock import Clock
from hdr_responder.domain.deliveries import BadAlert, Delivery, ParsedDelivery, parse
from hdr_responder.domain.incidents import PLAYBOOK_RULE, Incident
from hdr_responder.domain.ports.store import AlertTotals, Job, Store, Transaction
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.asking import ask_about
from hdr_responder.engine.escalation import Escalation
from hdr_responder.engine.grouping import Attachment, IncidentBook, Placer
from hdr_responder.engine.ledger import Lanes, Ledger
from hdr_responder.engine.measures import Measures
from hdr_responder.engine.mishaps import open_mishap
from hdr_responder.engine.settling import resolve_by_alerts
from hdr_responder.errors import InvalidInputError, TemporaryError

log = structlog.get_logger(__name__)

BATCH = 256
"""Deliveries a transaction."""
MAX_BATCHES = 50
"""Batches a job; more work enqueues another job."""
MAX_ASKS = 3
MAX_TOLD = 5

AskPresence = Callable[[AlertEvent], Awaitable[Presence]]
EventKey = tuple[str, str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings:
    """``late_window``: how long after a resolve a firing with its old start is taken for a late copy."""

    late_window: timedelta
    reopen_window: timedelta


@dataclass(slots=True)
class _Batch:
    deliveries: list[Delivery]
    parsed: list[tuple[Delivery, ParsedDelivery]]
    histories: dict[tuple[str, str], History]
    watchdogs: dict[str, datetime] = field(default_factory=dict)
    applied: list[tuple[AlertEvent, EventKind, Occurrence]] = field(default_factory=list)
    questions: list[AlertEvent] = field(default_factory=list)
    resolved: list[Incident] = field(default_factory=list)

    @property
    def bad(self) -> list[tuple[Delivery, BadAlert]]:
        return [(delivery, bad) for delivery, parsed in self.parsed for bad in parsed.bad]


class Intake:
    """Processes waiting deliveries."""

    def __init__(
        self,
        *,
        store: Store,
        documents: Documents,
        ask: AskPresence,
        clock: Clock,
        lanes: Lanes,
        settings: IntakeSettings,
        measures: Measures,
        give_way: Callable[[], Awaitable[None]],
        read: Callable[[Delivery], ParsedDelivery] = parse,
    ) -> None:
        """``give_way`` returns when receiving leaves room, after a bounded time in any case.

        ``read`` reads a delivery; whoever has read it before can give what it read.
        """
        self._give_way = give_way
        self._read = read
        self._store = store
        self._documents = documents
        self._placer = Placer(documents.services, documents.triage)
        self._escalation = Escalation(documents.triage, documents.escalation)
        self._ask = ask
        self._clock = clock
        self._lanes = lanes
        self._settings = settings
        self._measures = measures

    async def process(self) -> None:
        """Process what waits, at most `MAX_BATCHES` batches; then another job goes on."""
        async with self._store.transaction() as tx:
            pending = await tx.deliveries.pending()
        if pending.rejects:
            await self._report_rejects()
        if not pending.waiting:
            return
        for _ in range(MAX_BATCHES):
            await self._give_way()
            if not await self._batch(BATCH):
                return
        async with self._store.transaction() as tx:
            await tx.wake(Job.INTAKE)

    async def _batch(self, limit: int) -> bool:
        """Process one batch; a batch that fails is tried one by one, and the one that fails alone is parked."""
        taken: list[Delivery] = []
        try:
            return await self._attempt(limit, taken)
        except TemporaryError:
            raise
        except Exception as error:
            if not taken:
                raise
            if len(taken) > 1:
                log.warning("intake_batch_failed", error=str(error), error_type=type(error).__name__)
                return await self._batch(1)
            await self._park(taken[0], error)
            return True

    async def _attempt(self, limit: int, taken: list[Delivery]) -> bool:
        """Process up to ``limit`` deliveries, told to the caller in ``taken``; False when none waits."""
        answers: dict[EventKey, Presence] = {}
        for round_ in range(MAX_ASKS):
            async with self._store.transaction() as tx:
                await tx.serialise("intake")
                taken[:] = await tx.deliveries.waiting(limit)
                if not taken:
                    return False
                batch = await self._load(tx, list(taken), answers)
                if not batch.questions or round_ == MAX_ASKS - 1:
                    await self._write(tx, batch)
                    break
            asked = list({_key(e): e for e in batch.questions}.values())
            answers |= zip(map(_key, asked), await ask_about(asked, self._ask), strict=True)
        self._measure(batch)
        return True

    def _measure(self, batch: _Batch) -> None:
        kinds = Counter((event.source, kind) for event, kind, _ in batch.applied)
        for (source, kind), count in kinds.items():
            self._measures.alert(source, kind, count)
        now = self._clock.now()
        for delivery, parsed in batch.parsed:
            self._measures.ingested(now - delivery.received_at)
            if parsed.truncated:
                self._measures.alerts_cut(delivery.source, parsed.truncated)
        for incident in batch.resolved:
            self._measures.incident_resolved(incident)

    async def _load(self, tx: Transaction, deliveries: list[Delivery], answers: Mapping[EventKey, Presence]) -> _Batch:
        parsed = _before_fires_again([(d, self._read(d)) for d in deliveries])
        batch = _Batch(deliveries=[d for d, _ in parsed], parsed=parsed, histories={})
        events = [e for _, p in parsed for e in p.events if not self._is_watchdog(e, batch)]
        if events:
            since = min(e.starts_at for e in events)
            stored = await tx.alerts.history(list(dict.fromkeys(e.identity for e in events)), since)
            batch.histories = self._histories(events, stored)
        for event in events:
            self._apply(batch, event, answers)
        return batch

    def _is_watchdog(self, event: AlertEvent, batch: _Batch) -> bool:
        watchdog = self._documents.escalation.watchdog
        if watchdog is None or not watchdog.matches(event.labels):
            return False
        if event.status is AlertStatus.FIRING:
            batch.watchdogs[event.source] = event.received_at
        return True

    def _histories(self, events: list[AlertEvent], stored: list[Occurrence]) -> dict[tuple[str, str], History]:
        grouped: dict[tuple[str, str], list[Occurrence]] = {e.identity: [] for e in events}
        for occurrence in stored:
            grouped[(occurrence.source, occurrence.fingerprint)].append(occurrence)
        return {k: History(v, late_window=self._settings.late_window) for k, v in grouped.items()}

    def _apply(self, batch: _Batch, event: AlertEvent, answers: Mapping[EventKey, Presence]) -> None:
        history = batch.histories[event.identity]
        presence = answers.get(_key(event))
        if presence is None and history.is_ambiguous(event):
            batch.questions.append(event)
        applied = history.apply(event, presence or Presence.UNKNOWN)
        batch.applied.append((event, applied.kind, applied.occurrence))

    async def _write(self, tx: Transaction, batch: _Batch) -> None:
        now = self._clock.now()
        ledger = Ledger(self._lanes, now)
        book = await self._attach(tx, batch, ledger, now)
        await self._report_bad(tx, batch, ledger)
        changed = [o for h in batch.histories.values() for o in h.occurrences if o.changed]
        await tx.alerts.save(changed)
        batch.resolved = await self._refresh(tx, book, ledger)
        for source, at in batch.watchdogs.items():
            await tx.controls.watchdog_seen(source, at)
        if self._documents.escalation.watchdog is not None:
            await tx.controls.watchdog_expected(sorted({d.source for d in batch.deliveries}), now)
        await tx.deliveries.mark_processed([d.id for d in batch.deliveries], now)
        await ledger.flush(tx)

    async def _attach(self, tx: Transaction, batch: _Batch, ledger: Ledger, now: datetime) -> IncidentBook:
        book = IncidentBook(now=now, reopen_window=self._settings.reopen_window)
        placements = {id(o): (o, self._placer.place(o)) for _, _, o in batch.applied}
        known = sorted({o.incident_id for o, _ in placements.values() if o.incident_id is not None})
        book.add(await tx.incidents.by_keys(sorted({p.digest for _, p in placements.values()}), known))
        attachments: dict[int, tuple[Incident, Attachment]] = {}
        for occurrence, placement in placements.values():
            repeated = occurrence.incident_id is not None
            incident, attachment = book.attach(occurrence, placement)
            attachments[id(occurrence)] = (incident, attachment)
            raised = not _set_knowingly(incident, repeated=repeated) and incident.raise_priority(placement.decision)
            self._tell_attachment(ledger, incident, attachment, raised=raised)
        self._tell_alerts(batch, attachments, ledger)
        await tx.incidents.insert(book.new)
        for occurrence, _ in placements.values():
            occurrence.incident_id = attachments[id(occurrence)][0].id
        return book

    def _tell_attachment(self, ledger: Ledger, incident: Incident, attachment: Attachment, *, raised: bool) -> None:
        if attachment in {Attachment.OPENED, Attachment.REOPENED}:
            kind = EntryKind.OPENED if attachment is Attachment.OPENED else EntryKind.REOPENED
            ledger.entry(
                incident,
                kind,
                f"{kind.capitalize()}: {incident.title} as {incident.priority} ({incident.priority_reason})",
                detail={"rule": incident.priority_rule, "priority": incident.priority, "episode": incident.episode},
            )
            self._escalation.opened(incident, ledger)
            ledger.plan(incident)
        elif attachment is Attachment.RECORDED:
            ledger.entry(incident, EntryKind.OPENED, "Recorded after the fact: the alert was already over when it came")
        elif raised and incident.status.is_open:
            ledger.entry(
                incident,
                EntryKind.PRIORITY,
                f"Priority raised to {incident.priority} ({incident.priority_reason})",
                detail={"rule": incident.priority_rule, "priority": incident.priority},
            )
            self._escalation.opened(incident, ledger)
            ledger.plan(incident)

    def _tell_alerts(
        self, batch: _Batch, attachments: Mapping[int, tuple[Incident, Attachment]], ledger: Ledger
    ) -> None:
        counts: dict[int, Counter[EventKind]] = {}
        incidents: dict[int, Incident] = {}
        for event, kind, occurrence in batch.applied:
            incident = attachments[id(occurrence)][0]
            incidents[id(incident)] = incident
            counts.setdefault(id(incident), Counter())[kind] += 1
            incident.lower_bound = incident.lower_bound or event.truncated
            if kind is EventKind.UNCERTAIN:
                self._tell_uncertain(incident, event, occurrence, ledger)
        for key, kinds in counts.items():
            news = {k: n for k, n in kinds.items() if k in _NEWS}
            if news:
                text = ", ".join(f"{n} {_NEWS[k]}" for k, n in news.items())
                ledger.entry(
                    incidents[key], EntryKind.ALERTS, f"Alerts: {text}", detail={str(k): n for k, n in news.items()}
                )

    def _tell_uncertain(self, incident: Incident, event: AlertEvent, occurrence: Occurrence, ledger: Ledger) -> None:
        """Page about news that may be old, once per occurrence, whatever the priority."""
        fires = occurrence.status is AlertStatus.FIRING
        if not fires and occurrence.uncertain:
            return
        occurrence.uncertain = True
        text = (
            f"{event.labels.get('alertname', event.fingerprint)} came firing again with its old start after it had "
            "resolved, and Alertmanager could not be asked whether it really fires: nothing is automated for it"
        )
        ledger.entry(incident, EntryKind.UNCERTAIN, text, detail={"fingerprint": event.fingerprint})
        if fires or incident.paged_at is None:
            self._escalation.page_now(incident, ledger, text)
        else:
            ledger.page(incident, text)

    async def _refresh(self, tx: Transaction, book: IncidentBook, ledger: Ledger) -> list[Incident]:
        """Bring every touched incident in line with its alerts; return those that this resolved."""
        touched = list(book.touched.values())
        totals = await tx.alerts.totals([i.id for i in touched])
        open_before = [i for i in touched if i.status.is_open]
        for incident in touched:
            if incident.id in totals:
                self._settle(incident, totals[incident.id], ledger)
        await tx.incidents.update(touched)
        return [i for i in open_before if not i.status.is_open]

    def _settle(self, incident: Incident, totals: AlertTotals, ledger: Ledger) -> None:
        incident.alerts_total, incident.alerts_firing = totals.total, totals.firing
        incident.started_at = min(incident.started_at, totals.first_starts_at)
        if totals.firing:
            return
        ended = totals.last_ends_at or ledger.now
        if not incident.status.is_open:
            if incident.resolved_by is None:
                incident.resolved_at = max(ended, incident.resolved_at or ended)
            return
        resolve_by_alerts(incident, ledger, at=ended)

    async def _report_bad(self, tx: Transaction, batch: _Batch, ledger: Ledger) -> None:
        by_source: dict[str, list[str]] = {}
        for delivery, bad in batch.bad:
            labels = ", ".join(f"{k}={v!r}" for k, v in bad.labels.items()) or "no readable labels"
            by_source.setdefault(delivery.source, []).append(
                f"delivery {delivery.id}: {bad.field}: {bad.problem} ({labels})"
            )
        for source, texts in by_source.items():
            more = f"; and {len(texts) - MAX_TOLD} more" if len(texts) > MAX_TOLD else ""
            await open_mishap(
                tx,
                ledger,
                self._escalation,
                problem="unreadable alert",
                discriminator=source,
                text=f"Alerts from {source} that could not be read: {'; '.join(texts[:MAX_TOLD])}{more}",
            )

    async def _report_rejects(self) -> None:
        async with self._store.transaction() as tx:
            await tx.serialise("intake")
            rejected = await tx.deliveries.unreported_rejects(BATCH)
            if not rejected:
                return
            ledger = Ledger(self._lanes, self._clock.now())
            for delivery in rejected:
                await open_mishap(
                    tx,
                    ledger,
                    self._escalation,
                    problem="rejected delivery",
                    discriminator=delivery.source,
                    text=f"Delivery {delivery.id} from {delivery.source} is not Alertmanager's contract "
                    f"({delivery.error}); alerts may be missing. See: hdr-responder deliveries show {delivery.id}",
                )
            await tx.deliveries.mark_processed([d.id for d in rejected], ledger.now)
            await ledger.flush(tx)

    async def _park(self, delivery: Delivery, error: Exception) -> None:
        field_ = error.field if isinstance(error, InvalidInputError) else ""
        log.error("delivery_parked", error=str(error), error_type=type(error).__name__, exc_info=error)
        async with self._store.transaction() as tx:
            await tx.serialise("intake")
            if not any(d.id == delivery.id for d in await tx.deliveries.waiting(1)):
                return
            now = self._clock.now()
            await tx.deliveries.park(delivery.id, f"{type(error).__name__}: {error}"[:1000], field_, now)
            ledger = Ledger(self._lanes, now)
            await open_mishap(
                tx,
                ledger,
                self._escalation,
                problem="parked delivery",
                discriminator=delivery.source,
                text=f"Delivery {delivery.id} from {delivery.source} could not be processed ({type(error).__name__}). "
                f"It is kept: hdr-responder deliveries replay {delivery.id}",
            )
            await ledger.flush(tx)


_NEWS = {
    EventKind.OPENED: "firing",
    EventKind.RESOLVED: "resolved",
    EventKind.UNSEEN_RESOLVE: "already over when they came",
    EventKind.OVERTAKEN: "overtaken by their resolve",
}


def _set_knowingly(incident: Incident, *, repeated: bool) -> bool:
    """Tell whether a playbook set the priority when it knew of this alert already: a mere repeat is no news to it."""
    return repeated and incident.priority_rule == PLAYBOOK_RULE


def _before_fires_again(parsed: list[tuple[Delivery, ParsedDelivery]]) -> list[tuple[Delivery, ParsedDelivery]]:
    """Cut the batch before an alert that ended in it fires again: what ended is settled before what follows begins."""
    ended: set[tuple[str, str]] = set()
    for index, (_, found) in enumerate(parsed):
        if any(e.status is AlertStatus.FIRING and e.identity in ended for e in found.events):
            return parsed[:index]
        ended |= {e.identity for e in found.events if e.status is AlertStatus.RESOLVED}
    return parsed


def _key(event: AlertEvent) -> EventKey:
    return (*event.identity, event.starts_at)
