"""Builds the engine's stages from the store, the documents and the outside, and names the job that each one does."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from hdr_responder.actions.contract import Registry
from hdr_responder.actions.registry import registry
from hdr_responder.app.people import PeopleLanes
from hdr_responder.app.systems import Outside
from hdr_responder.documents.catalogue import Documents
from hdr_responder.domain.clock import Clock, NewId
from hdr_responder.domain.notifications import Lane
from hdr_responder.domain.ports.artifacts import ArtifactBytes
from hdr_responder.domain.ports.records import Records
from hdr_responder.domain.ports.store import Job, Store
from hdr_responder.engine.dispatcher import Dispatcher
from hdr_responder.engine.escalation import Deadlines, Escalation
from hdr_responder.engine.executor import Executor
from hdr_responder.engine.health import HealthDesk
from hdr_responder.engine.housekeeping import Housekeeping, HousekeepingSettings
from hdr_responder.engine.intake import Intake, IntakeSettings
from hdr_responder.engine.operations import PeopleOperations
from hdr_responder.engine.planner import Automation, Planner
from hdr_responder.engine.schedules import Schedules
from hdr_responder.engine.starter import Starter
from hdr_responder.engine.surveyor import Surveyor
from hdr_responder.engine.undoer import Undoer
from hdr_responder.engine.verifier import Verifier
from hdr_responder.engine.workbench import Workbench
from hdr_responder.settings import Settings
from hdr_responder.telemetry import Metrics

Handler = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the engine is built from."""

    settings: Settings
    documents: Documents
    store: Store
    records: Records
    artifacts: ArtifactBytes
    outside: Outside
    people: PeopleLanes
    metrics: Metrics
    clock: Clock
    give_way: Callable[[], Awaitable[None]]
    """What intake awaits before each batch, so that receiving goes first."""
    new_id: NewId = uuid.uuid4
    actions: Registry = field(default_factory=registry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The stages."""

    intake: Intake
    starter: Starter
    executor: Executor
    verifier: Verifier
    undoer: Undoer
    deadlines: Deadlines
    dispatcher: Dispatcher
    housekeeping: Housekeeping
    schedules: Schedules
    operations: PeopleOperations

    def handlers(self) -> Mapping[Job, Handler]:
        """Return what each job does with its key."""
        return {
            Job.INTAKE: lambda _: self.intake.process(),
            Job.PLAN: lambda key: self.starter.plan_incident(int(key)),
            Job.START: lambda key: self.starter.start_run(uuid.UUID(key)),
            Job.RUN: lambda key: self.executor.run(uuid.UUID(key)),
            Job.VERIFY: lambda key: self.verifier.verify(uuid.UUID(key)),
            Job.UNDO: lambda key: self.undoer.undo(uuid.UUID(key)),
            Job.DEADLINE: lambda _: self.deadlines.process(),
            Job.NOTIFY_SLACK: lambda _: self.dispatcher.deliver(Lane.SLACK),
            Job.NOTIFY_PAGERDUTY: lambda _: self.dispatcher.deliver(Lane.PAGERDUTY),
            Job.NOTIFY_CONSOLE: lambda _: self.dispatcher.deliver(Lane.CONSOLE),
        }


def build_engine(parts: Parts) -> Engine:
    """Build every stage."""
    documents, lanes, metrics = parts.documents, parts.people.lanes, parts.metrics
    escalation = Escalation(documents.triage, documents.escalation)
    bench = _workbench(parts, escalation)
    starter = _starter(parts, escalation)
    return Engine(
        intake=_intake(parts),
        starter=starter,
        executor=Executor(bench),
        verifier=Verifier(bench),
        undoer=Undoer(bench),
        deadlines=Deadlines(store=parts.store, escalation=escalation, lanes=lanes, clock=parts.clock),
        dispatcher=Dispatcher(
            store=parts.store,
            records=parts.records,
            senders=parts.people.senders,
            lanes=lanes,
            clock=parts.clock,
            measures=metrics,
        ),
        housekeeping=_housekeeping(parts, escalation),
        schedules=Schedules(
            store=parts.store,
            documents=documents,
            starter=starter,
            clock=parts.clock,
            lanes=lanes,
            environment=parts.settings.environment,
        ),
        operations=PeopleOperations(
            store=parts.store,
            documents=lambda: documents,
            starter=lambda: starter,
            clock=parts.clock,
            lanes=lanes,
            measures=metrics,
        ),
    )


def _intake(parts: Parts) -> Intake:
    return Intake(
        store=parts.store,
        documents=parts.documents,
        ask=parts.outside.presence.ask,
        clock=parts.clock,
        lanes=parts.people.lanes,
        settings=IntakeSettings(
            late_window=parts.settings.alertmanager.late_window,
            reopen_window=parts.documents.escalation.incidents.reopen_window,
        ),
        measures=parts.metrics,
        give_way=parts.give_way,
    )


def _starter(parts: Parts, escalation: Escalation) -> Starter:
    automation = Automation.of(parts.settings)
    return Starter(
        store=parts.store,
        documents=parts.documents,
        planner=Planner(services=parts.documents.services, automation=automation),
        escalation=escalation,
        ask=parts.outside.presence.ask,
        surveyor=_surveyor(parts),
        clock=parts.clock,
        new_id=parts.new_id,
        lanes=parts.people.lanes,
        measures=parts.metrics,
        allowances=parts.settings.automation.budgets.allowances,
    )


def _surveyor(parts: Parts) -> Surveyor:
    systems, actions = parts.outside.systems, parts.actions
    health = HealthDesk(services=parts.documents.services, registry=actions, systems=systems, clock=parts.clock)
    return Surveyor(registry=actions, systems=systems, health=health)


def _workbench(parts: Parts, escalation: Escalation) -> Workbench:
    return Workbench(
        store=parts.store,
        registry=parts.actions,
        systems=parts.outside.systems,
        artifacts=parts.artifacts,
        escalation=escalation,
        clock=parts.clock,
        new_id=parts.new_id,
        lanes=parts.people.lanes,
        owner=f"{socket.gethostname()}/{os.getpid()}/{parts.new_id()}",
        measures=parts.metrics,
    )


def _housekeeping(parts: Parts, escalation: Escalation) -> Housekeeping:
    return Housekeeping(
        store=parts.store,
        policy=parts.documents.escalation,
        escalation=escalation,
        ask=parts.outside.presence.ask,
        lanes=parts.people.lanes,
        clock=parts.clock,
        settings=HousekeepingSettings(quiet_period=parts.settings.alertmanager.quiet_period),
    )
