"""The engine of the test on its real database: several workers that share it, jobs, faults, people and the clock."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from hdr_responder.adapters.store.pool import Pool
from hdr_responder.documents.catalogue import Documents, load
from hdr_responder.documents.compiling import Library
from hdr_responder.documents.playbook_document import Playbook
from hdr_responder.domain.alerts import AlertEvent, Occurrence, Presence
from hdr_responder.domain.ports.store import Job
from hdr_responder.engine.operations import PeopleOperations
from hdr_responder.errors import PermanentError
from tests.fakes.clock import ManualClock
from tests.integration.engine.alerts import alert, delivery
from tests.integration.engine.cells import Cells, WorkerDied
from tests.integration.engine.properties import model, witness
from tests.integration.engine.properties.faults import HAND, Faults, Hand
from tests.integration.engine.properties.strategies import CELLS, MANY, PEOPLE, PLAYBOOKS, Alert, Deed, Hands
from tests.integration.engine.workshop import NOW, ROOT, Answers, Workshop, open_workshop

WORKERS = 3
PATIENCE_SECONDS = 30.0
"""How long a job may take in real time before it counts as stuck."""
LONG = 3600
"""After a jump over more seconds than these, Alertmanager has repeated what fires."""

_QUEUED = """
select id, entrypoint, payload, execute_after - created as delay, status::text
from pgqueuer
where entrypoint not like 'notify%'
order by id
"""
_PICK = "update pgqueuer set status = 'picked' where id = $1 and status = 'queued' returning id"


class Alertmanager(Answers):
    """Tells the truth about what fires, when it can be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.firing: dict[str, tuple[Alert, Any]] = {}
        """By fingerprint: the alert and since when it fires."""
        self.silenced = False
        self.reachable = True

    async def ask(self, alert: AlertEvent | Occurrence) -> Presence:
        if not self.reachable:
            return Presence.UNKNOWN
        if alert.fingerprint not in self.firing:
            return Presence.ABSENT
        return Presence.SUPPRESSED if self.silenced else Presence.FIRING


class Stage:
    """One database for many examples; `begin` makes it as new."""

    def __init__(self, runner: asyncio.Runner, pool: Pool, folder: Path) -> None:
        self._runner = runner
        self.pool = pool
        self._folder = folder
        empty = folder / "playbooks"
        empty.mkdir()
        self._shipped = load(ROOT / "config", empty, Cells(pool).registry())
        self.run(Cells(pool).prepare())
        self.run(witness.install(pool))

    def run(self, work: Any) -> Any:
        """Run a coroutine on the stage's loop."""
        return self._runner.run(work)

    async def begin(self, documents: tuple[dict[str, Any], ...]) -> None:
        """Empty the database and open workers with these playbooks."""
        await witness.wipe(self.pool)
        cells = Cells(self.pool)
        await cells.prepare(*CELLS)
        self.world = model.World()
        self.alertmanager = Alertmanager()
        self.clock = ManualClock(NOW)
        self.faults = Faults(cells, self.world, pause=self.pause, cancel=self._cancel)
        self.frozen: list[tuple[Hand, asyncio.Task[None]]] = []
        self.retired: list[Workshop] = []
        ids = random.Random(0)
        first = open_workshop(
            self.pool,
            folder=self._folder,
            documents=self._documents(documents, cells),
            actions=cells.registry(),
            cells=cells,
            clock=self.clock,
            answers=self.alertmanager,
            new_id=lambda: uuid.UUID(int=ids.getrandbits(128), version=4),
        )
        self.workers = [first, *(first.peer() for _ in range(WORKERS - 1))]

    def _documents(self, written: tuple[dict[str, Any], ...], cells: Cells) -> Documents:
        models = [Playbook.model_validate(w) for w in written]
        library = Library({m.metadata.name: m for m in models}, cells.registry())
        compiled = [library.compiled(m.metadata.name) for m in models]
        assert all(compiled), written
        return dataclasses.replace(self._shipped, playbooks=tuple(c for c in compiled if c))

    @property
    def operations(self) -> PeopleOperations:
        """What people do, by way of the first worker."""
        return self.workers[0].engine.operations

    # Alerts

    async def fire(self, fired: Alert) -> None:
        """Let an alert fire and be delivered; one that fires already is repeated."""
        body = self._body(fired, since=self.clock.now())
        known = self.alertmanager.firing.setdefault(body["fingerprint"], (fired, self.clock.now()))
        await self._deliver(self._body(*known))
        self.world.firing.add(body["fingerprint"])

    async def resolve(self, pick: int) -> None:
        """Let one of the alerts that fire end."""
        firing = sorted(self.alertmanager.firing)
        if not firing:
            return
        gone = firing[pick % len(firing)]
        ended, since = self.alertmanager.firing.pop(gone)
        self.world.firing.discard(gone)
        await self._deliver(self._body(ended, since=since, ends_at=self.clock.now()))

    async def repeat(self) -> None:
        """Let Alertmanager send again all that fires."""
        if self.alertmanager.firing:
            bodies = [self._body(*self.alertmanager.firing[f]) for f in sorted(self.alertmanager.firing)]
            await self._deliver(*bodies)

    def _body(self, told: Alert, since: Any, ends_at: Any = None) -> dict[str, Any]:
        return alert(
            told.name, starts_at=since, ends_at=ends_at, service=told.service, severity=told.severity, cell=told.cell
        )

    async def _deliver(self, *bodies: dict[str, Any]) -> None:
        await self.workers[0].receive_body(delivery(list(bodies)))
        await self.pool.execute(
            "insert into pgqueuer (priority, entrypoint, payload, status, execute_after, created, updated)"
            " values (0, 'intake', ''::bytea, 'queued', now(), now(), now())"
        )

    # Work

    async def work(self, hands: Hands) -> None:
        """Let workers take jobs until none is due, or so many are done."""
        done = 0
        while done < hands.jobs:
            taken = await self._take(min(hands.at_once, hands.jobs - done))
            if not taken:
                return
            done += len(taken)
            await asyncio.gather(
                *(
                    self._do(self.workers[(n + copy) % WORKERS], *job)
                    for n, job in enumerate(taken)
                    for copy in range(hands.copies)
                )
            )
        assert hands.jobs < MANY, f"still busy after {MANY} jobs"

    async def _take(self, most: int) -> list[tuple[int, Job, str]]:
        """Pick due jobs, as a worker does: they stay in the queue until they are done."""
        seen, now = self.workers[0].seen, self.clock.now()
        rows = [dict(r) for r in await self.pool.fetch(_QUEUED)]
        due = [r for r in rows if seen.setdefault(r["id"], now) + r["delay"] <= now and r["status"] == "queued"]
        taken = [r for r in due[:most] if await self.pool.fetchval(_PICK, r["id"])]
        return [(r["id"], Job(r["entrypoint"]), (r["payload"] or b"").decode()) for r in taken]

    async def _do(self, worker: Workshop, job_id: int, job: Job, key: str) -> None:
        """Do one job until it is done, the worker dies or freezes."""
        hand = Hand(worker, job_id)
        HAND.set(hand)
        task = asyncio.create_task(_handle(worker, job, key))
        await self._follow(hand, task)

    async def _follow(self, hand: Hand, task: asyncio.Task[None]) -> None:
        freezing = asyncio.create_task(hand.frozen.wait())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.wait({task, freezing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            freezing.cancel()
        if not task.done():
            self.frozen.append((hand, task))
        elif isinstance(task.exception(), WorkerDied):
            self._replace(hand.worker)
        else:
            task.result()
            await self.pool.execute("delete from pgqueuer where id = $1", hand.job_id)
            if hand.worker.engine.executor.draining.is_set():
                self._replace(hand.worker)

    def _replace(self, worker: Workshop) -> None:
        """A new process takes the place of one that is gone."""
        if worker in self.workers:
            self.retired.append(worker)
            self.workers[self.workers.index(worker)] = worker.peer()

    async def thaw(self) -> None:
        """Let the workers go on that stood still, all at once."""
        frozen, self.frozen = self.frozen, []
        for hand, _ in frozen:
            hand.frozen.clear()
            hand.thaw.set()
            hand.thaw = asyncio.Event()
        await asyncio.gather(*(self._follow(hand, task) for hand, task in frozen))

    async def lose_leases(self) -> None:
        """Let the time pass after which runs and jobs of dead and frozen workers go to others."""
        await self.workers[0].lose_leases()
        await self.pool.execute("update pgqueuer set status = 'queued' where status = 'picked'")
        await self.workers[0].sweep()

    async def lose_jobs(self) -> None:
        """Somebody empties the queue of all that the sweep finds again."""
        await self.pool.execute("delete from pgqueuer where entrypoint not in ('plan', 'intake')")

    async def jump(self, seconds: int) -> None:
        """Let so much time pass while all workers are away."""
        self.clock.advance(seconds)
        if seconds > LONG:
            await self.repeat()

    # People

    async def person(self, deed: Deed) -> None:
        """A person does something; being told that it cannot be done is no failure."""
        with contextlib.suppress(PermanentError):
            if deed.name in _SWITCHES:
                await _SWITCHES[deed.name](self, deed)
            elif deed.name in _ON_RUNS:
                run = await self._pick(_RUNS[deed.name], deed)
                if run is not None:
                    await _ON_RUNS[deed.name](self.operations, run, by=deed.by)
            else:
                incident = await self._pick("select id from incidents order by id desc", deed)
                if incident is not None:
                    await _ON_INCIDENTS[deed.name](self, incident, deed)

    async def _pick(self, sql: str, deed: Deed) -> Any:
        rows = await self.pool.fetch(sql)
        return rows[deed.pick % len(rows)]["id"] if rows else None

    async def pause(self) -> None:
        await self.operations.pause(by="ann")
        self.world.paused_after = await self.pool.fetchval("select coalesce(max(id), 0) from timeline")

    async def resume(self) -> None:
        self.world.paused_after = None
        await self.operations.resume(by="ann")

    async def hold(self, service: str, seconds: int) -> None:
        """Keep automation away from a service from now on; 0 ends it."""
        await self.operations.hold(service, timedelta(seconds=seconds), by="ann")
        now = self.clock.now().timestamp()
        others = [dataclasses.replace(h, until=min(h.until, now)) for h in self.world.holds if h.service == service]
        kept = [h for h in self.world.holds if h.service != service]
        self.world.holds = [*kept, *others, model.HeldService(service=service, since=now, until=now + seconds)]

    async def _cancel(self, run_id: uuid.UUID) -> None:
        with contextlib.suppress(PermanentError):
            await self.operations.cancel(run_id, by="ann")

    # The end

    async def look(self, checks: tuple[model.Check, ...]) -> witness.Recorded:
        """Compare the records with what must hold."""
        seen = await witness.read(self.pool)
        found = model.breaches(checks, seen, self.world)
        assert not found, "\n".join(found)
        self.world.told = seen.entries
        return seen

    async def finish(self) -> None:
        """Let people release everything and time pass until all is quiet, then look."""
        self.faults.stop()
        await self.thaw()
        await self.resume()
        for service in {h.service for h in self.world.holds}:
            await self.hold(service, 0)
        for seconds in _REST:
            await self._approve_all()
            await self.jump(seconds)
            await self.lose_leases()
            await self.work(Hands(at_once=WORKERS, copies=1, jobs=MANY))
            seen = await self.look(model.ALWAYS)
            if not model.breaches(model.IN_THE_END, seen, self.world):
                break
        await self.look(model.IN_THE_END)
        self._look_at_metrics()

    async def _approve_all(self) -> None:
        for row in await self.pool.fetch("select id from runs where status = 'awaiting_approval'"):
            for member in PEOPLE[:2]:
                with contextlib.suppress(PermanentError):
                    await self.operations.approve(row["id"], by=member)

    def _look_at_metrics(self) -> None:
        for worker in (*self.workers, *self.retired):
            for family in worker.metrics.registry.collect():
                negative = [s for s in family.samples if s.value < 0]
                assert not negative, negative

    async def leave(self) -> None:
        """End what stands still, after a failure."""
        for _, task in self.frozen:
            task.cancel()
        await asyncio.gather(*(task for _, task in self.frozen), return_exceptions=True)


_REST = (1, 10, 60, 60, 120, 300, 600, 900, 1800, 1800, 3601, 3601, 7200, 7200, 86_400, 86_400)
"""Seconds between the last looks; more than any hold, expiry, verification or temporary change takes."""


_SWITCHES: dict[str, Callable[[Stage, Deed], Awaitable[object]]] = {
    "pause": lambda stage, _: stage.pause(),
    "resume": lambda stage, _: stage.resume(),
    "hold": lambda stage, deed: stage.hold(deed.service, 1200),
    "release": lambda stage, deed: stage.hold(deed.service, 0),
}
_ON_RUNS: dict[str, Callable[..., Awaitable[object]]] = {
    "approve": PeopleOperations.approve,
    "deny": PeopleOperations.deny,
    "cancel": PeopleOperations.cancel,
    "undo": PeopleOperations.undo,
}
_RUNS = {
    name: f"select id from runs where status {which} order by created_at desc, incident_id desc, id"
    for name, which in {
        "approve": "in ('held', 'awaiting_approval')",
        "deny": "in ('held', 'awaiting_approval')",
        "cancel": "in ('held', 'awaiting_approval', 'running', 'verifying')",
        "undo": "not in ('held', 'awaiting_approval', 'running', 'verifying')",
    }.items()
}
"""Among which runs a person picks."""
_ON_INCIDENTS: dict[str, Callable[[Stage, int, Deed], Awaitable[object]]] = {
    "acknowledge": lambda stage, incident, deed: stage.operations.acknowledge(incident, by=deed.by),
    "resolve": lambda stage, incident, deed: stage.operations.resolve(incident, by=deed.by),
    "request": lambda stage, incident, deed: stage.operations.run_playbook(
        incident, PLAYBOOKS[deed.pick % len(PLAYBOOKS)], by=deed.by
    ),
    "command": lambda stage, incident, deed: stage.pool.execute(
        "update incidents set commander = $2 where id = $1", incident, deed.by
    ),
}


async def _handle(worker: Workshop, job: Job, key: str) -> None:
    await worker.engine.handlers()[job](key)
