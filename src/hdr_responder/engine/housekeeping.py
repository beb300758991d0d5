"""What is done by the clock: old incidents close, silent watchdogs page, and unmentioned alerts are asked about.

Absence is not resolution (Alertmanager contract rule 7) and a resolve may never come (rule 12), so a firing alert ends
here only when Alertmanager says twice, some minutes apart, that it does not know it, or after a long quiet period.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from hdr_responder.documents.escalation import EscalationPolicy
from hdr_responder.domain.alerts import AlertStatus, Occurrence, Presence
from hdr_responder.domain.clock import Clock
from hdr_responder.domain.incidents import IncidentStatus
from hdr_responder.domain.ports.store import Store, Transaction
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.asking import ask_about
from hdr_responder.engine.escalation import Escalation
from hdr_responder.engine.ledger import Lanes, Ledger
from hdr_responder.engine.mishaps import open_mishap
from hdr_responder.engine.settling import resolve_by_alerts

log = structlog.get_logger(__name__)

BATCH = 100
_KNOWN = frozenset({Presence.FIRING, Presence.SUPPRESSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class HousekeepingSettings:
    """``ask_after``: unmentioned for so long, Alertmanager is asked about a firing alert. ``absent_for``: how long it
    must not know it. ``quiet_period``: without any news for so long an alert ends even if Alertmanager cannot be asked.
    """

    ask_after: timedelta = timedelta(minutes=10)
    absent_for: timedelta = timedelta(minutes=5)
    quiet_period: timedelta = timedelta(days=3)


class Housekeeping:
    """Runs every minute, on one replica at a time."""

    def __init__(
        self,
        *,
        store: Store,
        policy: EscalationPolicy,
        escalation: Escalation,
        ask: Callable[[Occurrence], Awaitable[Presence]],
        lanes: Lanes,
        clock: Clock,
        settings: HousekeepingSettings,
    ) -> None:
        self._store = store
        self._policy = policy
        self._escalation = escalation
        self._ask = ask
        self._lanes = lanes
        self._clock = clock
        self._settings = settings

    async def tick(self) -> None:
        """Do what is due."""
        await self._close_old()
        await self._watchdogs()
        await self._ask_about_quiet()
        await self._end_absent()

    async def _close_old(self) -> None:
        async with self._store.transaction() as tx:
            now = self._clock.now()
            old = await tx.incidents.to_close(now - self._policy.incidents.close_after, BATCH)
            ledger = Ledger(self._lanes, now)
            for incident in old:
                incident.move(IncidentStatus.CLOSED, at=now, by=None)
                ledger.entry(incident, EntryKind.CLOSED, "Closed: it can no longer reopen")
            await tx.incidents.update(old)
            await ledger.flush(tx)

    async def _watchdogs(self) -> None:
        watchdog = self._policy.watchdog
        if watchdog is None:
            return
        async with self._store.transaction() as tx:
            now = self._clock.now()
            ledger = Ledger(self._lanes, now)
            for source in await tx.controls.watchdogs_missing(now - watchdog.within):
                await open_mishap(
                    tx,
                    ledger,
                    self._escalation,
                    problem="watchdog silent",
                    discriminator=source,
                    text=f"The watchdog alert of {source} has not been heard for {watchdog.within}: alerts from there "
                    "may not arrive",
                    priority=Priority.P1,
                )
            await ledger.flush(tx)

    async def _ask_about_quiet(self) -> None:
        now = self._clock.now()
        async with self._store.transaction() as tx:
            quiet = await tx.alerts.quiet(now - self._settings.ask_after, BATCH)
        answers = await ask_about(quiet, self._ask)
        absent = [a.id for a, p in zip(quiet, answers, strict=True) if p is Presence.ABSENT and a.id is not None]
        known = [a.id for a, p in zip(quiet, answers, strict=True) if p in _KNOWN and a.id is not None]
        async with self._store.transaction() as tx:
            await tx.alerts.mark_absent(absent, now)
            await tx.alerts.mark_absent(known, None)

    async def _end_absent(self) -> None:
        """End what Alertmanager says for the second time that it does not know, and what nobody can be asked about."""
        async with self._store.transaction() as tx:
            asked = await self._long_absent(tx)
        answers = dict(zip((a.id for a in asked), await ask_about(asked, self._ask), strict=True))
        async with self._store.transaction() as tx:
            await tx.serialise("intake")
            now = self._clock.now()
            ledger = Ledger(self._lanes, now)
            found = [(a, answers[a.id]) for a in await self._long_absent(tx) if a.id in answers]
            quiet_since = now - self._settings.quiet_period
            unanswered = [a for a, p in found if p is Presence.UNKNOWN and a.last_received_at <= quiet_since]
            gone = [a for a, p in found if p is Presence.ABSENT] + unanswered
            for alert, presence in found:
                if presence in _KNOWN:
                    alert.last_received_at = now
            await tx.alerts.save([a for a, p in found if p in _KNOWN])
            unknown = [a.id for a, p in found if p is Presence.UNKNOWN and a not in unanswered and a.id is not None]
            await tx.alerts.mark_absent(unknown, None)
            for alert in gone:
                alert.status, alert.ends_at, alert.changed = AlertStatus.RESOLVED, now, True
            await tx.alerts.save(gone)
            await self._settle(tx, ledger, gone)
            await ledger.flush(tx)

    async def _long_absent(self, tx: Transaction) -> list[Occurrence]:
        now = self._clock.now()
        return await tx.alerts.absent(now - self._settings.absent_for, now - self._settings.quiet_period, BATCH)

    async def _settle(self, tx: Transaction, ledger: Ledger, gone: list[Occurrence]) -> None:
        ids = sorted({a.incident_id for a in gone if a.incident_id is not None})
        incidents = await tx.incidents.by_keys((), ids)
        totals = await tx.alerts.totals(ids)
        for incident in incidents:
            incident.alerts_firing = totals[incident.id].firing
            ledger.entry(
                incident, EntryKind.ALERTS, "Alerts ended without a resolve: Alertmanager no longer knows them"
            )
            if not incident.alerts_firing and incident.status.is_open:
                resolve_by_alerts(incident, ledger, at=ledger.now)
        await tx.incidents.update(incidents)
