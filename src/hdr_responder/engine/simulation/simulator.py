"""Drives the service's own stages over recorded deliveries on a virtual clock, in memory and asking nothing outside.

What a recording cannot tell is assumed, and always alike: a started run ends with the verification that the caller
chose, people do nothing, nobody pauses or holds anything, and Alertmanager says of an alert what the last delivery
said of it.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, cast

from hdr_responder.actions.contract import Registry
from hdr_responder.documents.catalogue import Documents
from hdr_responder.domain.alerts import AlertEvent, AlertStatus, Occurrence, Presence
from hdr_responder.domain.deliveries import Delivery, ParsedDelivery, parse
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.ports.store import Job, Store
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.runs import Run, RunStatus, Step, Verification
from hdr_responder.domain.survey import Survey, SurveyedStep, TargetSurvey
from hdr_responder.engine.escalation import Deadlines, Escalation
from hdr_responder.engine.intake import Intake, IntakeSettings
from hdr_responder.engine.ledger import Lanes
from hdr_responder.engine.planner import Automation, Planner
from hdr_responder.engine.simulation.account import Account, Simulated, Skipped
from hdr_responder.engine.simulation.memory import MemoryStore, run_id
from hdr_responder.engine.starter import Starter
from hdr_responder.engine.surveyor import Surveyor
from hdr_responder.engine.telling import telling
from hdr_responder.engine.workbench import Workbench
from hdr_responder.errors import InvalidInputError, PermanentError
from hdr_responder.settings import Settings
from hdr_responder.telemetry import Metrics

REJECTED = "rejected"
"""Status of a delivery that was refused at the door."""
SETTLES = timedelta(hours=1)
"""How long the clock runs on after the last delivery."""
MAX_JOBS = 1_000_000
"""Jobs that may come due at one and the same moment; more would mean that stages wake each other without end."""

Assumption = Literal["verified", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a simulation takes for given: settings, documents, and how every run ends."""

    settings: Settings
    documents: Documents
    assume: Assumption = "verified"

    @property
    def planner(self) -> Planner:
        """The planner of these documents in the settings' environment."""
        automation = Automation.of(self.settings)
        return Planner(services=self.documents.services, automation=automation)


async def simulate(world: World, deliveries: Iterable[Delivery]) -> Simulated:
    """Replay deliveries, oldest first, and return what would have been opened, paged and run.

    A delivery that was rejected or is not Alertmanager's contract is skipped and named in the answer.
    """
    simulator: _Simulator | None = None
    skipped: list[Skipped] = []
    count = 0
    for count, delivery in enumerate(deliveries, start=1):  # noqa: B007 - the last count is the answer's
        try:
            read = _read(delivery)
        except InvalidInputError as error:
            skipped.append(Skipped(delivery=delivery.id, problem=str(error)))
            continue
        simulator = simulator or _Simulator(world, delivery.received_at)
        await simulator.deliver(delivery, read)
    account = await simulator.settle() if simulator else Account()
    return account.tell(assumed=world.assume, deliveries=count, skipped=skipped)


def _read(delivery: Delivery) -> ParsedDelivery:
    """Read a delivery. Raises InvalidInputError."""
    if delivery.status == REJECTED:
        raise InvalidInputError(delivery.error or "it was rejected")
    return parse(delivery)


class _Simulator:
    """The stages of one simulation."""

    def __init__(self, world: World, start: datetime) -> None:
        self._world = world
        self._memory = MemoryStore(start)
        self._start = self._last = start
        self._read = ParsedDelivery(events=(), bad=(), truncated=0)
        self._lanes = Lanes(slack=False, pagerduty=False)
        self._measures = Metrics()
        documents = world.documents
        self._escalation = Escalation(documents.triage, documents.escalation)
        self._new_id = map(run_id, itertools.count(1)).__next__
        self._intake = self._build_intake()
        self._bench = self._build_bench()
        self._handlers = self._stages()

    async def deliver(self, delivery: Delivery, read: ParsedDelivery) -> None:
        """Bring the clock to the delivery, and then the delivery in."""
        self._read = read
        self._last = max(self._last, delivery.received_at)
        await self._advance(self._last)
        self._memory.deliveries.queue.append(delivery)
        await self._intake.process()
        await self._advance(self._last)

    async def settle(self) -> Account:
        """Let the clock run on, and return what was recorded."""
        await self._advance(self._last + SETTLES)
        memory = self._memory
        return Account(
            since=self._start,
            until=memory.now(),
            incidents=memory.incidents.all,
            runs=tuple(memory.runs.all.values()),
            entries=memory.timeline.entries,
            pages=memory.notifications.pages,
        )

    async def _advance(self, until: datetime) -> None:
        """Do what comes due on the way, each at its own time."""
        jobs, done, moment = self._memory.jobs, 0, self._memory.now()
        while (due := jobs.pop(until)) is not None:
            at, job, key = due
            done = done + 1 if at <= moment else 0
            if done > MAX_JOBS:
                raise PermanentError(f"the simulation does not get beyond {moment}: {job} comes due again and again")
            jobs.now = moment = max(at, moment)
            handler = self._handlers.get(job)
            if handler is not None:
                await handler(key)
        jobs.now = until

    async def _begin(self, key: str) -> None:
        """Let a started run wait for its verification; a run without one is done at once."""
        run = self._memory.runs.all[uuid.UUID(key)]
        verify = self._world.documents.playbook(run.playbook).verify
        if verify is None:
            return await self._end(run, RunStatus.COMPLETED, "assumed: it only reads, and did")
        run.move(RunStatus.VERIFYING, "assumed: its steps went well", at=self._memory.now())
        after = verify.hold if self._world.assume == "verified" else verify.within
        await self._memory.wake(Job.VERIFY, [key], after)

    async def _verify(self, key: str) -> None:
        run = self._memory.runs.all[uuid.UUID(key)]
        if self._world.assume == "verified":
            run.verification = Verification.VERIFIED
            return await self._end(run, RunStatus.COMPLETED, "assumed: it helped")
        run.verification = Verification.FAILED
        await self._end(run, RunStatus.FAILED, "assumed: it did not help")

    async def _end(self, run: Run, status: RunStatus, reason: str) -> None:
        async with telling(self._store, self._lanes, self._memory, run.incident_id) as told:
            await self._bench.end(told, run, status, reason)

    @property
    def _store(self) -> Store:
        """The records as the stages take them: they ask for no more than `MemoryStore` has."""
        return cast("Store", self._memory)

    def _stages(self) -> Mapping[Job, Callable[[str], Awaitable[None]]]:
        """Return what each job does; the others (messages, intake) have nothing to do here."""
        starter = self._build_starter()
        deadlines = Deadlines(store=self._store, escalation=self._escalation, lanes=self._lanes, clock=self._memory)
        return {
            Job.PLAN: lambda key: starter.plan_incident(int(key)),
            Job.START: lambda key: starter.start_run(uuid.UUID(key)),
            Job.RUN: self._begin,
            Job.VERIFY: self._verify,
            Job.DEADLINE: lambda _: deadlines.process(),
        }

    def _build_intake(self) -> Intake:
        return Intake(
            store=self._store,
            documents=self._world.documents,
            ask=_not_asked,
            clock=self._memory,
            lanes=self._lanes,
            settings=IntakeSettings(
                late_window=self._world.settings.alertmanager.late_window,
                reopen_window=self._world.documents.escalation.incidents.reopen_window,
            ),
            measures=self._measures,
            give_way=_at_once,
            read=lambda _: self._read,
        )

    def _build_starter(self) -> Starter:
        return Starter(
            store=self._store,
            documents=self._world.documents,
            planner=self._world.planner,
            escalation=self._escalation,
            ask=_as_recorded,
            surveyor=cast("Surveyor", _AllWell()),
            clock=self._memory,
            new_id=self._new_id,
            lanes=self._lanes,
            measures=self._measures,
            allowances=self._world.settings.automation.budgets.allowances,
        )

    def _build_bench(self) -> Workbench:
        """Return what ends runs; nothing is executed, so it needs no systems."""
        return Workbench(
            store=self._store,
            registry=Registry((), ()),
            systems=Systems(),
            artifacts=_Nowhere(),
            escalation=self._escalation,
            clock=self._memory,
            new_id=self._new_id,
            lanes=self._lanes,
            owner="simulation",
            measures=self._measures,
        )


class _AllWell:
    """Looks at the outside for the guards: nothing stands in the way of any step, and all that is depended on is up."""

    async def survey(self, run: Run, steps: Sequence[Step], incident: Incident, presence: Presence) -> Survey:
        """Return that all is well."""
        del steps, incident
        changing = (s for s in run.plan.steps if s.mutates)
        seen = (SurveyedStep(step_id=s.id, target=s.id, found=TargetSurvey()) for s in changing)
        return Survey(presence=presence, steps=tuple(seen), dependencies=())


class _Nowhere:
    """Keeps no evidence: a simulation has none."""

    async def put(self, path: str, content: bytes) -> None:
        """Refuse."""
        raise PermanentError(f"a simulation keeps no evidence ({path}, {len(content)} bytes)")

    async def get(self, path: str) -> bytes:
        """Refuse."""
        raise PermanentError(f"a simulation keeps no evidence ({path})")


async def _at_once() -> None:
    """Nobody else has to be let through."""


async def _not_asked(alert: AlertEvent) -> Presence:
    """A recording cannot say what Alertmanager would have answered about a firing that may be old or new."""
    del alert
    return Presence.UNKNOWN


async def _as_recorded(alert: Occurrence) -> Presence:
    return Presence.FIRING if alert.status is AlertStatus.FIRING else Presence.ABSENT
