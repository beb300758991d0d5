"""A responder as a process behind a gate, on a database whose commits can be held, and what it leaves behind."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.commit_holds import CommitHolds, commit_holds
from tests.acceptance.proving import Mutation, Tale, firing, make_documents, make_workloads, mutations, tales
from tests.acceptance.responder import Responder
from tests.services.api_gate import ApiGate, Hold, api_gate
from tests.services.kubernetes import ControlPlane
from tests.services.waiting import eventually

REACHED_SECONDS = 60
ENDED_SECONDS = 90
RUNS = """
    select i.service, i.id as incident, r.id::text as run, r.status, r.verification, r.fence, r.started_at, r.ended_at
    from incidents i left join runs r on r.incident_id = i.id
"""
_UNFINISHED = """
    select 'a delivery' as what from deliveries where status = 'received'
    union all select 'the run of ' || i.service || ', ' || r.status from runs r join incidents i on i.id = r.incident_id
        where r.status in ('awaiting_approval', 'held', 'running', 'verifying')
    union all select 'the undo of ' || step_id from steps where undo_at is not null and undone is null
    union all select 'a notification of incident ' || incident_id from notifications where status = 'pending'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Everything that was recorded, done and shown."""

    runs: Mapping[str, Mapping[str, Any]]
    """By workload, each of which has one incident and one run."""
    steps: Sequence[Mapping[str, Any]]
    timeline: Sequence[Mapping[str, Any]]
    notifications: Sequence[Mapping[str, Any]]
    mutations: Sequence[Mutation] = field(compare=False)
    tales: Sequence[Tale] = field(compare=False)
    shown: Sequence[str] = field(compare=False)
    """Lines of the consoles."""

    def effects(self, workload: str) -> Counter[str]:
        """How often each effect was had on a workload."""
        return Counter(m.effect for m in self.mutations if m.workload == workload and m.effect)

    def tale(self, workload: str) -> Counter[str]:
        """How often the Events of a workload tell each reason."""
        return Counter(t.reason for t in self.tales if t.workload == workload)

    def told(self, workload: str, kind: str) -> int:
        """How often the timeline of a workload's incident has a kind of entry."""
        incident = self.runs[workload]["incident"]
        return sum(1 for entry in self.timeline if (entry["incident_id"], entry["kind"]) == (incident, kind))

    def unshown(self) -> list[str]:
        """Return the incidents without a card, and what was recorded as told and never shown."""
        told = {n["incident_id"] for n in self.notifications if n["status"] == "sent" and n["kind"] == "card"}
        silent = [f"INC-{run['incident']}" for run in self.runs.values() if run["incident"] not in told]
        return silent + sorted((self._sent() - self._displayed()).elements())

    def repeated(self) -> list[str]:
        """Return what was shown more often than it was to be told."""
        return sorted((self._displayed() - self._sent()).elements())

    def too_early(self) -> list[Mutation]:
        """Return the changes that were asked for before their start was recorded."""
        started = {(str(s["run_id"]), s["step_id"]): s["started_at"] for s in self.steps}
        changed = [m for m in self.mutations if m.step]
        assert changed
        return [m for m in changed if m.at < started[(m.run, m.step)]]

    def _displayed(self) -> Counter[str]:
        threads = [line for line in self.shown if re.match(r"INC-\d+: ", line)]
        cards = [f"card {found[1]}" for line in self.shown if (found := re.match(r"P\d (INC-\d+) ", line))]
        return Counter(threads + cards)

    def _sent(self) -> Counter[str]:
        sent = [n for n in self.notifications if n["status"] == "sent"]
        threads = [f"INC-{n['incident_id']}: {n['text']}" for n in sent if n["kind"] == "thread"]
        return Counter(threads + [f"card INC-{n['incident_id']}" for n in sent if n["kind"] == "card"])


@dataclass(slots=True, kw_only=True)
class Stage:
    """A responder, the workloads that it may act on, and what may be held of it."""

    control_plane: ControlPlane
    workloads: Sequence[str]
    gate: ApiGate
    commits: CommitHolds
    folder: Path
    environ: Mapping[str, str]
    responders: list[Responder] = field(default_factory=list)

    @property
    def responder(self) -> Responder:
        """The first one, behind the gate."""
        return self.responders[0]

    def add_responder(self, kubeconfig: Path) -> Responder:
        """Make one more on the same database."""
        folder = self.folder / f"responder-{len(self.responders)}"
        folder.mkdir()
        one = Responder(folder, {**self.environ, "HDR_KUBERNETES__KUBECONFIG": str(kubeconfig)})
        self.responders.append(one)
        return one

    async def deliver(self, alerts: Mapping[str, str]) -> None:
        """Let these alerts fire, by workload."""
        if alerts:
            assert await self.responder.deliver(firing(*((name, w) for w, name in alerts.items()))) == 200

    async def arrived(self, held: Mapping[str, Hold]) -> None:
        """Wait until a call arrived at each of these holds, which have names for people."""
        waiting = {name: asyncio.create_task(hold.arrived.wait()) for name, hold in held.items()}
        await asyncio.wait(waiting.values(), timeout=REACHED_SECONDS)
        late = [name for name, task in waiting.items() if not task.done()]
        for task in waiting.values():
            task.cancel()
        assert not late, f"not reached: {late}"

    async def kill(self) -> None:
        """SIGKILL; what it had under way is lost. Then let the time pass for which its claims would rest.

        That is a minute for a message that it was sending, and five for a verification to whose failure it reacted.
        """
        await asyncio.to_thread(self.responder.process.kill)
        self.gate.open()
        await self.commits.release()
        async with self.responder.database() as connection:
            await connection.execute("update notifications set due_at = least(due_at, now()) where status = 'pending'")
            await connection.execute("update runs set next_check_at = least(next_check_at, now())")

    async def settled(self) -> Records:
        """Wait until nothing is left to do, and look at everything."""
        left: list[str] = []
        async with self.responder.database() as connection:

            async def all_ended() -> bool:
                left[:] = [row["what"] for row in await connection.fetch(_UNFINISHED)]
                ended = await connection.fetchval("select count(*) from runs where ended_at is not null")
                return not left and ended == len(self.workloads)

            try:
                await eventually(all_ended, seconds=ENDED_SECONDS)
            except TimeoutError as error:
                raise AssertionError(f"not ended: {left}") from error
        return await self.records()

    async def records(self) -> Records:
        """Return what is recorded, done and shown just now."""
        async with self.responder.database() as connection:

            async def rows(sql: str) -> list[dict[str, Any]]:
                return [dict(row) for row in await connection.fetch(sql)]

            return Records(
                runs={row["service"]: row for row in await rows(RUNS)},
                steps=await rows("select * from steps order by run_id, position"),
                timeline=await rows("select * from timeline order by id"),
                notifications=await rows("select *, payload ->> 'text' as text from notifications order by id"),
                mutations=await self.mutations(),
                tales=await self.tales(),
                shown=[x for r in self.responders for x in r.process.log_path.read_text().splitlines()],
            )

    async def mutations(self) -> list[Mutation]:
        """Return what was done to these workloads so far, by whomever."""
        found = await asyncio.to_thread(mutations, self.control_plane)
        return [m for m in found if m.workload in self.workloads]

    async def tales(self) -> list[Tale]:
        """Return what these workloads were told so far, by whomever."""
        found = await asyncio.to_thread(tales, self.control_plane)
        return [t for t in found if t.workload in self.workloads]

    async def start(self) -> None:
        await asyncio.to_thread(self.responder.start)


@asynccontextmanager
async def stage(
    control_plane: ControlPlane, database_url: str, folder: Path, workloads: Sequence[str]
) -> AsyncIterator[Stage]:
    """A stage on the playbooks of six steps; its responder is started already."""
    async with api_gate(control_plane, folder) as gate, commit_holds(database_url) as commits:
        environ = make_documents(folder, "six_steps", workloads) | {
            "HDR_DATABASE__URL": database_url,
            "HDR_DATABASE__POOL_SIZE": "60",
            "HDR_KUBERNETES__TIMEOUT": "5m",
        }
        made = Stage(
            control_plane=control_plane,
            workloads=workloads,
            gate=gate,
            commits=commits,
            folder=folder,
            environ=environ,
        )
        made.add_responder(gate.kubeconfig(control_plane.responder_kubeconfig))
        try:
            await asyncio.gather(made.start(), asyncio.to_thread(make_workloads, control_plane, workloads))
            yield made
        finally:
            for one in made.responders:
                await asyncio.to_thread(one.process.kill)
