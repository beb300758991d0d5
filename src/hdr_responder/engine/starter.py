"""From an open incident to a run: choose the playbook, write the plan, ask the guards, take the targets.

The plan is written down first. Then Alertmanager is asked about the alert that the plan is for, and guard verdicts,
target locks and the start are one transaction; a run that a guard refuses is held with the guard's reason and asked
again when its cause ends, and given to a person when that takes too long.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from hdr_responder.documents.catalogue import Documents
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.domain.alerts import Occurrence, Presence
from hdr_responder.domain.clock import Clock, NewId
from hdr_responder.domain.guards import Allowances
from hdr_responder.domain.matchers import parse_matcher_set
from hdr_responder.domain.ports.store import Job, Store
from hdr_responder.domain.runs import WAITING, GuardVerdict, Mode, Run, RunStatus, Step, Trigger
from hdr_responder.domain.survey import Survey
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine import guards
from hdr_responder.engine.escalation import Escalation
from hdr_responder.engine.gates import approval_rule, frozen_match, guard_rules, stops_when_resolved
from hdr_responder.engine.holding import MAX_HELD, Holding
from hdr_responder.engine.ledger import Lanes
from hdr_responder.engine.measures import Measures
from hdr_responder.engine.planner import PlanError, Planner
from hdr_responder.engine.settling import close_steps, end_with_incident, let_go
from hdr_responder.engine.surveyor import Outlook
from hdr_responder.engine.telling import Telling, telling
from hdr_responder.errors import ConflictError, TemporaryError

log = structlog.get_logger(__name__)

ALERTS_READ = 100
"""Alerts of an incident that planning looks at, oldest first."""
ALERTS_ASKED = 3
"""Alerts that Alertmanager is asked about before a start, the one that was planned for first."""

AskAlertmanager = Callable[[Occurrence], Awaitable[Presence]]


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
        surveyor: Outlook,
        clock: Clock,
        new_id: NewId,
        lanes: Lanes,
        measures: Measures,
        allowances: Allowances,
    ) -> None:
        self._store = store
        self._documents = documents
        self._planner = planner
        self._escalation = escalation
        self._ask = ask
        self._surveyor = surveyor
        self._clock = clock
        self._new_id = new_id
        self._lanes = lanes
        self._measures = measures
        self._allowances = allowances
        self._holding = Holding(escalation=escalation, measures=measures)

    async def plan_incident(self, incident_id: int) -> None:
        """Plan for an incident that was opened, reopened or raised; end waiting runs of one that is over."""
        async with telling(self._store, self._lanes, self._clock, incident_id) as told:
            told.incident.plan_at = None
            alerts = await told.tx.alerts.of_incident(incident_id, firing_only=True, limit=ALERTS_READ)
            if told.incident.status.is_open and alerts:
                await self._plan(told, alerts)
            else:
                await self._end_waiting(told)
                if not told.incident.status.is_open:
                    await end_with_incident(told)

    async def start_run(self, run_id: uuid.UUID) -> None:
        """Ask the guards of a waiting run again and start it if they all agree; what cannot be read blocks."""
        async with self._store.transaction() as tx:
            run = await tx.runs.get(run_id)
            if run.status not in WAITING:
                return
            incident, steps = await tx.incidents.get(run.incident_id), await tx.runs.steps(run_id)
            alerts = await tx.alerts.of_incident(run.incident_id, firing_only=True, limit=ALERTS_READ)
        presence = await self._presence(run, alerts)
        survey = await self._surveyor.survey(run, steps, incident, presence)
        try:
            async with telling(self._store, self._lanes, self._clock, run.incident_id) as told:
                await self._ask_and_start(told, await told.tx.runs.get(run_id, lock=True), survey)
        except TemporaryError:
            raise
        except Exception as error:
            log.exception("run_not_started", run=str(run_id), incident=f"INC-{run.incident_id}")
            await self._hold_unread(run, error)

    async def request(
        self, incident_id: int, playbook_name: str, *, by: str, given: Mapping[str, object] | None = None
    ) -> Run:
        """Plan and start a run that a person asks for.

        Raises PlanError, NotFoundError for an unknown playbook, ConflictError for one that people may not start,
        InvalidInputError naming a param of ``given`` that is unknown, missing or wrong.
        """
        playbook = self._documents.playbook(playbook_name)
        if playbook.matchers is None and not playbook.model.manual:
            raise ConflictError(f"people cannot start {playbook.name}: it has no match and does not say manual: true")
        async with telling(self._store, self._lanes, self._clock, incident_id) as told:
            alerts = await told.tx.alerts.of_incident(incident_id, firing_only=True, limit=ALERTS_READ)
            run = await self._write(told, playbook, alerts, trigger=Trigger.PERSON, requested_by=by, given=given or {})
            assert run is not None, "a requested run is never a duplicate"
        # What cannot be asked just now is asked again: the run is due from the beginning, and the sweep finds it.
        with contextlib.suppress(TemporaryError):
            await self.start_run(run.id)
        async with self._store.transaction() as tx:
            return await tx.runs.get(run.id)

    async def begin(self, told: Telling, playbook: CompiledPlaybook) -> Run | None:
        """Plan a run that the clock asks for; None when it cannot be planned, which a person is told."""
        return await self._begin(told, playbook, [], Trigger.SCHEDULE)

    async def _ask_and_start(self, told: Telling, run: Run, survey: Survey) -> None:
        """Ask every guard on facts read under locks; start the run, hold it, or end it."""
        if run.status not in WAITING or await self._ends_unasked(told, run, survey):
            return
        refused = await self._refusals(told, run, survey)
        if run.started_at is not None and any(guards.is_over(v) for v in refused):
            # Midway either the worker leaves out what is no longer needed, which only a pause keeps it from, or the
            # playbook wants it finished.
            stops = stops_when_resolved(run)
            refused = [v for v in refused if (v.guard == "pause" if stops else v.guard not in guards.OF_THE_ALERT)]
        if await self._end_by(told, run, refused):
            return
        if not refused and not await told.tx.runs.lock_targets(run.id, [t.key for t in run.plan.targets]):
            again = told.ledger.now + guards.ASK_AGAIN
            reason = "another run took the target just now"
            refused = [GuardVerdict(guard="target", allowed=False, reason=reason, ask_again_at=again)]
        if refused:
            return await self._holding.hold(told, run, refused)
        await self._start(told, run)

    async def _ends_unasked(self, told: Telling, run: Run, survey: Survey) -> bool:
        """End a run that the environment does not allow, or whose time to wait is over; tell whether."""
        if Mode.OBSERVE in {run.mode, self._planner.cap(told.incident.priority)}:
            if run.started_at is None:
                await self._observed(told, run, survey)
            else:
                await self._no_longer_needed(told, run, "the environment allows no more than observing now")
            return True
        needed = told.incident.status.is_open or run.started_at is not None
        if run.expires_at is not None and run.expires_at <= told.ledger.now and needed:
            await self._expire(told, run)
            return True
        return False

    async def _end_by(self, told: Telling, run: Run, refused: Sequence[GuardVerdict]) -> bool:
        """End a run that is no longer needed, or that has waited long enough for what it stands on; tell whether."""
        over = next((v for v in refused if guards.is_over(v)), None)
        late = next((v for v in refused if guards.has_waited_enough(v)), None)
        if over is not None:
            await self._no_longer_needed(told, run, over.reason)
        elif late is not None:
            run.reason = f"{late.guard}: {late.reason}"
            await self._expire(told, run)
        return over is not None or late is not None

    async def _refusals(self, told: Telling, run: Run, survey: Survey) -> list[GuardVerdict]:
        rules = guard_rules(run)
        asked = guards.counted(run, rules, self._allowances)
        question = guards.Question(
            run=run,
            incident=told.incident,
            rules=rules,
            facts=await told.tx.runs.facts(run, asked, now=told.ledger.now),
            cap=self._planner.cap(told.incident.priority),
            survey=survey,
            calendar=self._documents.calendar,
            environment=self._planner.environment,
            reach=self._documents.services.reach,
            gate=approval_rule(run) if run.gate else None,
        )
        return [v for v in guards.ask(question) if not v.allowed]

    async def _hold_unread(self, run: Run, error: Exception) -> None:
        async with telling(self._store, self._lanes, self._clock, run.incident_id) as told:
            present = await told.tx.runs.get(run.id, lock=True)
            if present.status in WAITING:
                await self._holding.hold(told, present, [guards.unreadable(error, told.ledger.now)])

    async def _plan(self, told: Telling, alerts: list[Occurrence]) -> None:
        incident, ledger = told.incident, told.ledger
        chosen = self._planner.choose(self._documents.playbooks, alerts, incident.priority)
        if chosen is None:
            return ledger.entry(incident, EntryKind.NOT_PLANNED, "Nothing is automated: no playbook matches its alerts")
        playbook, alert = chosen
        await self._begin(told, playbook, [alert, *(a for a in alerts if a is not alert)], Trigger.ALERT)

    async def _begin(
        self, told: Telling, playbook: CompiledPlaybook, alerts: list[Occurrence], trigger: Trigger
    ) -> Run | None:
        incident, ledger = told.incident, told.ledger
        try:
            run = await self._write(told, playbook, alerts, trigger=trigger)
        except PlanError as error:
            log.warning("plan_failed", incident=incident.ref, playbook=playbook.name, error=str(error))
            ledger.entry(incident, EntryKind.NOT_PLANNED, f"Cannot be planned: {error}"[:1000])
            self._escalation.escalate(incident, ledger, f"{playbook.name} cannot be planned: {error}"[:1000])
            return None
        if run is not None:
            ledger.wake(Job.START, str(run.id))
        return run

    async def _write(
        self,
        told: Telling,
        playbook: CompiledPlaybook,
        alerts: list[Occurrence],
        *,
        trigger: Trigger,
        requested_by: str | None = None,
        given: Mapping[str, object] | None = None,
    ) -> Run | None:
        """Write plan and run down; None when automation already ran this playbook in this episode."""
        now, incident = told.ledger.now, told.incident
        plan = self._planner.plan(playbook, incident, alerts, given)
        approve = plan.mode is Mode.APPROVE
        run = Run(
            id=self._new_id(),
            incident_id=incident.id,
            episode=incident.episode,
            playbook=playbook.name,
            mode=plan.mode,
            status=RunStatus.AWAITING_APPROVAL if approve else RunStatus.HELD,
            plan=plan,
            created_at=now,
            reason="planned; the guards are being asked",
            trigger=trigger,
            requested_by=requested_by,
            ask_again_at=now,
            expires_at=now + (playbook.model.guards.approval.expires if approve else MAX_HELD),
        )
        steps = [Step(run_id=run.id, position=i, step_id=s.id, action=s.action) for i, s in enumerate(plan.steps)]
        if not await told.tx.runs.insert(run, steps):
            return None
        who = f" (asked for by {requested_by})" if requested_by else ""
        told.ledger.entry(
            incident,
            EntryKind.PLANNED,
            f"Planned {playbook.name} in mode {plan.mode}{who}: {plan.mode_reason}",
            run_id=run.id,
            detail={"steps": [s.id for s in plan.steps], "targets": [t.title for t in plan.targets]},
        )
        return run

    async def _observed(self, told: Telling, run: Run, survey: Survey) -> None:
        """Write down what would have been done, and what would have kept it from being done."""
        refused = [v for v in await self._refusals(told, run, survey) if v.guard != "staleness"]
        run.plan = run.plan.model_copy(update={"verdicts": tuple(refused)})
        would = " -> ".join(f"{s.action}({s.target.title})" if s.target else s.action for s in run.plan.steps)
        but = f"; but {refused[0].guard}: {refused[0].reason}" if refused else ""
        why = run.plan.mode_reason if run.mode is Mode.OBSERVE else "the environment allows no more now"
        run.move(RunStatus.OBSERVED, f"observed only ({why})", at=told.ledger.now)
        await told.tx.runs.save(run)
        text = f"Would have run {run.playbook}: {would}{but}"
        told.ledger.entry(told.incident, EntryKind.OBSERVED, text[:1000], run_id=run.id)

    async def _start(self, told: Telling, run: Run) -> None:
        verb = "goes on" if run.started_at else "started"
        run.move(RunStatus.RUNNING, "", at=told.ledger.now)
        run.plan = run.plan.model_copy(update={"refused_since": {}})
        await told.tx.runs.save(run)
        targets = ", ".join(t.title for t in run.plan.targets) or "nothing (it only reads)"
        text = f"{run.playbook} {verb} on {targets}"
        told.ledger.entry(told.incident, EntryKind.RUN_STARTED, text[:1000], run_id=run.id)
        told.ledger.wake(Job.RUN, str(run.id))

    async def _expire(self, told: Telling, run: Run) -> None:
        verb = "could not go on" if run.started_at else "was not started"
        why = f"{run.playbook} {verb} in time ({run.reason})"[:900]
        await self._end(told, run, RunStatus.EXPIRED, why)
        told.ledger.entry(told.incident, EntryKind.RUN_ENDED, f"Expired: {why}", run_id=run.id)
        self._escalation.escalate(told.incident, told.ledger, why)

    async def _no_longer_needed(self, told: Telling, run: Run, why: str) -> None:
        await self._end(told, run, RunStatus.CANCELLED, f"no longer needed: {why}")
        text = f"{run.playbook} is no longer needed: {why}"
        told.ledger.entry(told.incident, EntryKind.RUN_ENDED, text, run_id=run.id)

    async def _end_waiting(self, told: Telling) -> None:
        for run in await told.tx.runs.of_incident(told.incident.id):
            if run.status is RunStatus.RUNNING and run.resume_at is not None and stops_when_resolved(run):
                await self._cut_short(told, run.id)
            if run.status in WAITING:
                told.ledger.wake(Job.START, str(run.id))

    async def _cut_short(self, told: Telling, run_id: uuid.UUID) -> None:
        """Let a run that waits go on now: nothing needs what it waits for any more."""
        run = await told.tx.runs.get(run_id, lock=True)
        run.resume_at = told.ledger.now
        await told.tx.runs.save(run)
        told.ledger.wake(Job.RUN, str(run.id))

    async def _end(self, told: Telling, run: Run, status: RunStatus, reason: str) -> None:
        run.move(status, reason, at=told.ledger.now)
        await told.tx.runs.save(run)
        await close_steps(told, run)
        await let_go(told.tx, told.ledger, run)
        self._measures.run_ended(run)

    async def _presence(self, run: Run, alerts: Sequence[Occurrence]) -> Presence:
        """Ask about the alerts that the run is for, its own first; one that fires is enough, else the worst counts."""
        match = parse_matcher_set(frozen_match(run))
        planned = run.plan.context.get("alert")
        own = planned.get("fingerprint") if isinstance(planned, dict) else None
        meant = sorted((a for a in alerts if match.matches(a.labels)), key=lambda a: a.fingerprint != own)
        answers = []
        for alert in meant[:ALERTS_ASKED]:
            answers.append(await self._ask(alert))
            if answers[-1] is Presence.FIRING:
                return Presence.FIRING
        return next((a for a in (Presence.UNKNOWN, Presence.SUPPRESSED) if a in answers), Presence.ABSENT)
