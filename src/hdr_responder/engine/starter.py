"""From an open incident to a run: choose the playbook, write the plan, ask the guards, take the targets.

Plan, guard verdicts, target locks and the timeline entry are one transaction; a run that a guard refuses is held with
the guard's reason and asked again when its cause ends, and given to a person when that takes too long.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from hdr_responder.documents.catalogue import Documents
from hdr_responder.documents.playbook_document import Playbook
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.domain.alerts import Occurrence, Presence
from hdr_responder.domain.clock import Clock, NewId
from hdr_responder.domain.guards import GuardFacts
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.ports.store import Job, Store, Transaction
from hdr_responder.domain.runs import GuardVerdict, Mode, Run, RunStatus, Step
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine import guards
from hdr_responder.engine.escalation import Escalation
from hdr_responder.engine.ledger import Lanes, Ledger
from hdr_responder.engine.measures import Measures
from hdr_responder.engine.planner import PlanError, Planner

log = structlog.get_logger(__name__)

ALERTS_READ = 100
"""Alerts of an incident that planning looks at, oldest first."""

AskAlertmanager = Callable[[Occurrence], Awaitable[Presence]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StarterSettings:
    """``max_held``: how long a guard may hold a run before a person is asked."""

    max_held: timedelta = timedelta(hours=1)


class Starter:
    """Plans and starts runs."""

    def __init__(
        self,
        *,
        store: Store,
        documents: Documents,
        planner: Planner,
        escalation: Escalation,
        ask: AskAlertmanager,
        clock: Clock,
        new_id: NewId,
        lanes: Lanes,
        measures: Measures,
        settings: StarterSettings | None = None,
    ) -> None:
        self._store = store
        self._documents = documents
        self._planner = planner
        self._escalation = escalation
        self._ask = ask
        self._clock = clock
        self._new_id = new_id
        self._lanes = lanes
        self._measures = measures
        self._settings = settings or StarterSettings()

    async def plan_incident(self, incident_id: int) -> None:
        """Plan for an incident that was opened, reopened or raised; end waiting runs of one that is over."""
        async with self._store.transaction() as tx:
            alerts = await tx.alerts.of_incident(incident_id, firing_only=True, limit=ALERTS_READ)
        presence = await self._presence(alerts)
        async with self._store.transaction() as tx:
            incident = await tx.incidents.get(incident_id, lock=True)
            ledger = Ledger(self._lanes, self._clock.now())
            if incident.status.is_open and alerts:
                await self._plan(tx, ledger, incident, alerts, presence)
            else:
                await self._end_waiting(tx, ledger, incident)
            await tx.incidents.update([incident])
            await ledger.flush(tx)

    async def start_run(self, run_id: uuid.UUID) -> None:
        """Ask the guards of a waiting run again and start it if they all agree."""
        async with self._store.transaction() as tx:
            run = await tx.runs.get(run_id)
            alerts = await tx.alerts.of_incident(run.incident_id, firing_only=True, limit=ALERTS_READ)
        presence = await self._presence(alerts)
        async with self._store.transaction() as tx:
            incident = await tx.incidents.get(run.incident_id, lock=True)
            run = await tx.runs.get(run_id, lock=True)
            if run.status not in {RunStatus.AWAITING_APPROVAL, RunStatus.HELD}:
                return
            ledger = Ledger(self._lanes, self._clock.now())
            await self.ask_and_start(tx, ledger, incident, run, presence)
            await tx.incidents.update([incident])
            await ledger.flush(tx)

    async def request(self, incident_id: int, playbook_name: str, *, by: str) -> Run:
        """Plan and start a run that a person asks for. Raises PlanError, and NotFoundError for an unknown playbook."""
        playbook = self._documents.playbook(playbook_name)
        async with self._store.transaction() as tx:
            alerts = await tx.alerts.of_incident(incident_id, firing_only=True, limit=ALERTS_READ)
            incident = await tx.incidents.get(incident_id, lock=True)
            ledger = Ledger(self._lanes, self._clock.now())
            run = await self._write(tx, ledger, incident, playbook, alerts, requested_by=by)
            assert run is not None, "a requested run is never a duplicate"
            await self.ask_and_start(tx, ledger, incident, run, Presence.UNKNOWN)
            await tx.incidents.update([incident])
            await ledger.flush(tx)
        return run

    async def ask_and_start(
        self, tx: Transaction, ledger: Ledger, incident: Incident, run: Run, presence: Presence
    ) -> None:
        """Ask every guard on facts read under locks; start the run, hold it, or end it."""
        now = ledger.now
        if run.mode is Mode.OBSERVE:
            return await self._observed(tx, ledger, incident, run)
        if run.expires_at is not None and run.expires_at <= now:
            return await self._expire(tx, ledger, incident, run)
        facts = await tx.runs.facts(run, now=now, since=now - guards.STARTS_SEEN_FOR)
        refused = [v for v in self._verdicts(run, facts, presence) if not v.allowed]
        if any(v.guard == "resolved" for v in refused):
            return await self._no_longer_needed(tx, ledger, incident, run, refused)
        if not refused and await tx.runs.lock_targets(run.id, [t.key for t in run.plan.targets]):
            return await self._start(tx, ledger, incident, run)
        await self._hold(tx, ledger, incident, run, refused)

    def _verdicts(self, run: Run, facts: GuardFacts, presence: Presence) -> tuple[GuardVerdict, ...]:
        rules = Playbook.model_validate(run.plan.document).guards
        return guards.ask(guards.Question(run=run, rules=rules, facts=facts, presence=presence))

    async def _plan(
        self, tx: Transaction, ledger: Ledger, incident: Incident, alerts: list[Occurrence], presence: Presence
    ) -> None:
        chosen = self._planner.choose(self._documents.playbooks, alerts, incident.priority)
        if chosen is None:
            return self._nothing_to_run(ledger, incident, "no playbook matches its alerts")
        playbook, alert = chosen
        ordered = [alert, *(a for a in alerts if a is not alert)]
        try:
            run = await self._write(tx, ledger, incident, playbook, ordered, requested_by=None)
        except PlanError as error:
            log.warning("plan_failed", incident=incident.ref, playbook=playbook.name, error=str(error))
            ledger.entry(incident, EntryKind.NOT_PLANNED, f"Cannot be planned: {error}"[:1000])
            return self._escalation.escalate(incident, ledger, f"{playbook.name} cannot be planned: {error}"[:1000])
        if run is not None:
            await self.ask_and_start(tx, ledger, incident, run, presence)

    def _nothing_to_run(self, ledger: Ledger, incident: Incident, why: str) -> None:
        ledger.entry(incident, EntryKind.NOT_PLANNED, f"Nothing is automated: {why}")

    async def _write(
        self,
        tx: Transaction,
        ledger: Ledger,
        incident: Incident,
        playbook: CompiledPlaybook,
        alerts: list[Occurrence],
        *,
        requested_by: str | None,
    ) -> Run | None:
        plan = self._planner.plan(playbook, incident, alerts)
        expires = playbook.model.guards.approval.expires if plan.mode is Mode.APPROVE else self._settings.max_held
        run = Run(
            id=self._new_id(),
            incident_id=incident.id,
            episode=incident.episode,
            playbook=playbook.name,
            mode=plan.mode,
            status=RunStatus.AWAITING_APPROVAL if plan.mode is Mode.APPROVE else RunStatus.HELD,
            plan=plan,
            created_at=ledger.now,
            requested_by=requested_by,
            expires_at=ledger.now + expires,
        )
        steps = [Step(run_id=run.id, position=i, step_id=s.id, action=s.action) for i, s in enumerate(plan.steps)]
        if not await tx.runs.insert(run, steps):
            return None
        who = f" (asked for by {requested_by})" if requested_by else ""
        ledger.entry(
            incident,
            EntryKind.PLANNED,
            f"Planned {playbook.name} in mode {plan.mode}{who}: {plan.mode_reason}",
            run_id=run.id,
            detail={"steps": [s.id for s in plan.steps], "targets": [t.title for t in plan.targets]},
        )
        return run

    async def _observed(self, tx: Transaction, ledger: Ledger, incident: Incident, run: Run) -> None:
        facts = await tx.runs.facts(run, now=ledger.now, since=ledger.now - guards.STARTS_SEEN_FOR)
        refused = [v for v in self._verdicts(run, facts, Presence.UNKNOWN) if not v.allowed]
        run.plan = run.plan.model_copy(update={"verdicts": tuple(refused)})
        run.status, run.ended_at, run.expires_at = RunStatus.OBSERVED, ledger.now, None
        would = " -> ".join(f"{s.action}({s.target.title})" if s.target else s.action for s in run.plan.steps)
        but = f"; but {refused[0].guard}: {refused[0].reason}" if refused else ""
        run.reason = f"observed only ({run.plan.mode_reason})"
        await tx.runs.save(run)
        ledger.entry(incident, EntryKind.OBSERVED, f"Would have run {run.playbook}: {would}{but}", run_id=run.id)

    async def _start(self, tx: Transaction, ledger: Ledger, incident: Incident, run: Run) -> None:
        run.status, run.started_at, run.reason = RunStatus.RUNNING, run.started_at or ledger.now, ""
        run.ask_again_at = run.expires_at = None
        await tx.runs.save(run)
        targets = ", ".join(t.title for t in run.plan.targets) or "nothing (it only reads)"
        ledger.entry(incident, EntryKind.RUN_STARTED, f"{run.playbook} started on {targets}", run_id=run.id)
        ledger.wake(Job.RUN, str(run.id))

    async def _hold(
        self, tx: Transaction, ledger: Ledger, incident: Incident, run: Run, refused: list[GuardVerdict]
    ) -> None:
        if not refused:
            refused = [GuardVerdict(guard="target", allowed=False, reason="another run took the target just now")]
        waits = all(v.guard == "approval" for v in refused)
        status = RunStatus.AWAITING_APPROVAL if waits else RunStatus.HELD
        reason = "; ".join(f"{v.guard}: {v.reason}" for v in refused)
        times = [v.ask_again_at for v in refused]
        again = max((t for t in times if t), default=None) if all(times) else None
        changed = {v.guard for v in run.plan.verdicts} != {v.guard for v in refused} or run.status is not status
        run.plan = run.plan.model_copy(update={"verdicts": tuple(refused)})
        run.status, run.reason, run.ask_again_at = status, reason, again
        await tx.runs.save(run)
        if again:
            ledger.wake(Job.START, str(run.id), after=max(again - ledger.now, timedelta(0)))
        if changed:
            self._tell_refusal(ledger, incident, run, refused, waits=waits)

    def _tell_refusal(
        self, ledger: Ledger, incident: Incident, run: Run, refused: list[GuardVerdict], *, waits: bool
    ) -> None:
        for verdict in refused:
            self._measures.guard_refused(verdict.guard)
        kind = EntryKind.APPROVAL_ASKED if waits else EntryKind.GUARD_REFUSED
        verb = "waits for approval" if waits else "is held"
        ledger.entry(
            incident,
            kind,
            f"{run.playbook} {verb}: {run.reason}"[:1000],
            run_id=run.id,
            detail={"guards": {v.guard: v.reason for v in refused}},
        )
        ledger.say(incident, f"{run.playbook} {verb}: {run.reason}"[:2000])
        if any(v.guard == "budget" for v in refused):
            self._escalation.escalate(incident, ledger, f"{run.playbook} has used up its budget on this target")

    async def _expire(self, tx: Transaction, ledger: Ledger, incident: Incident, run: Run) -> None:
        why = f"{run.playbook} was not started in time ({run.reason})"
        await self._end(tx, run, RunStatus.EXPIRED, why, ledger)
        ledger.entry(incident, EntryKind.RUN_ENDED, f"Expired: {why}"[:1000], run_id=run.id)
        self._escalation.escalate(incident, ledger, why[:1000])

    async def _no_longer_needed(
        self, tx: Transaction, ledger: Ledger, incident: Incident, run: Run, refused: list[GuardVerdict]
    ) -> None:
        why = next(v.reason for v in refused if v.guard == "resolved")
        await self._end(tx, run, RunStatus.CANCELLED, f"no longer needed: {why}", ledger)
        ledger.entry(incident, EntryKind.RUN_ENDED, f"{run.playbook} is no longer needed: {why}", run_id=run.id)

    async def _end_waiting(self, tx: Transaction, ledger: Ledger, incident: Incident) -> None:
        for run in await tx.runs.of_incident(incident.id):
            if run.status in {RunStatus.AWAITING_APPROVAL, RunStatus.HELD}:
                await self.ask_and_start(tx, ledger, incident, run, Presence.UNKNOWN)

    async def _end(self, tx: Transaction, run: Run, status: RunStatus, reason: str, ledger: Ledger) -> None:
        run.status, run.reason, run.ended_at = status, reason, ledger.now
        run.ask_again_at = run.expires_at = None
        await tx.runs.save(run)
        await tx.runs.release_targets(run.id)

    async def _presence(self, alerts: list[Occurrence]) -> Presence:
        """Ask about the alerts until one is known to fire; the answer least in favour of acting otherwise."""
        answers = [await self._ask(alert) for alert in alerts[:3]]
        for answer in (Presence.FIRING, Presence.UNKNOWN, Presence.SUPPRESSED):
            if answer in answers:
                return answer
        return Presence.ABSENT if answers else Presence.UNKNOWN
