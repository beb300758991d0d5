"""Small real actions: they set cells of a PostgreSQL table, where every effect that ever happened can be counted.

`Cells.at` lets a test do something at a named point of a step (die, freeze, fail), as the world would.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from hdr_responder.actions.contract import (
    Check,
    Mutation,
    Observed,
    Parameters,
    Permission,
    Read,
    Registry,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
    Undone,
    Verdict,
)
from hdr_responder.actions.incident import INCIDENT_ACTIONS
from hdr_responder.actions.registry import registry
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import TargetSurvey
from hdr_responder.errors import FencedError, HdrError, NotFoundError

Point = Literal[
    "look",
    "dry_run",
    "claim",
    "capture",
    "before_effect",
    "after_effect",
    "observe",
    "observed",
    "before_undo",
    "announce",
    "check",
]
Happening = Callable[[StepContext], Awaitable[None] | None]

TABLES = """
create table if not exists cells (name text primary key, value integer, fence text, token bigint);
create table if not exists effects (
    id integer generated always as identity primary key,
    step_key text not null, cell text not null, kind text not null, fence text not null
);
"""


class WorkerDied(BaseException):
    """The process is gone: nothing after this line happens."""


@dataclass
class Cells:
    """The table, and what happens at which point."""

    pool: Pool
    at: dict[Point, Happening] = field(default_factory=dict)
    reached: list[str] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)
    """What the targets were told: ``<step> done`` or ``<step> undone``."""
    no_effect: str = ""
    """What a step that has not taken effect says of the target."""
    surveyed: TargetSurvey | HdrError = field(default_factory=TargetSurvey)
    """What a step finds at its target before a run starts."""

    async def prepare(self, *names: str) -> None:
        """Create the tables with a cell of value 1 for each name."""
        await self.pool.execute(TABLES)
        for name in names:
            await self.pool.execute("insert into cells (name, value) values ($1, 1)", name)

    async def value(self, name: str) -> int | None:
        found: int | None = await self.pool.fetchval("select value from cells where name = $1", name)
        return found

    async def set(self, name: str, value: int | None) -> None:
        """Somebody else sets a cell."""
        await self.pool.execute("update cells set value = $2 where name = $1", name, value)

    async def effects(self, kind: str = "set") -> list[str]:
        """The cells that steps changed, in order."""
        return [r["cell"] for r in await self.pool.fetch("select cell from effects where kind = $1 order by id", kind)]

    async def pass_point(self, point: Point, ctx: StepContext) -> None:
        self.reached.append(point)
        happening = self.at.get(point)
        if happening is not None:
            done = happening(ctx)
            if inspect.isawaitable(done):
                await done

    def registry(self) -> Registry:
        """The actions and checks on this table, beside those on incidents and alerts."""
        actions = (SetCell(self), BlindSetCell(self), CutOffCell(self), LookAtCell(self), *INCIDENT_ACTIONS)
        return Registry(actions, (CellIs(self), *registry().checks.values()))


class CellParameters(Parameters):
    cell: str
    value: int = 2
    namespace: str | None = None
    """Where the cell is said to be."""


class CellResult(Result):
    value: int | None


class LookAtCell(Read[CellParameters, CellResult]):
    name = "cell.look"
    summary = "Reads a cell."
    example = "{id: look, action: cell.look, with: {cell: a}}"
    parameters = CellParameters
    result = CellResult

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def permissions(self, params: CellParameters) -> tuple[Permission, ...]:
        return ()

    async def execute(self, ctx: StepContext, params: CellParameters) -> CellResult:
        await self._cells.pass_point("look", ctx)
        return CellResult(value=await self._cells.value(params.cell))


class SetCell(Mutation[CellParameters, CellResult]):
    """Holds a fence, can be observed and undone."""

    name: ClassVar[str] = "cell.set"
    summary = "Sets a cell."
    example = "{id: set, action: cell.set, with: {cell: a, value: 2}}"
    parameters = CellParameters
    result = CellResult
    undoable = Undo.RESTORES
    holds_fence = True
    destructive = False
    effect_group = "set"
    default_timeout_seconds = 20.0

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def permissions(self, params: CellParameters) -> tuple[Permission, ...]:
        return ()

    def target(self, params: CellParameters) -> Target:
        return Target(key=f"cell:{params.cell}", effect_group=self.effect_group, title=f"cell {params.cell}")

    async def survey(self, systems: Systems, params: CellParameters) -> TargetSurvey:
        if isinstance(self._cells.surveyed, HdrError):
            raise self._cells.surveyed
        return self._cells.surveyed

    async def dry_run(self, ctx: StepContext, params: CellParameters) -> None:
        await self._cells.pass_point("dry_run", ctx)
        if not await self._cells.pool.fetchval("select exists (select from cells where name = $1)", params.cell):
            raise NotFoundError(f"cell {params.cell} does not exist")

    async def claim(self, ctx: StepContext, params: CellParameters) -> None:
        await self._cells.pass_point("claim", ctx)
        sql = """
            update cells set fence = $2, token = $3
            where name = $1 and (split_part(fence, '/', 1) is distinct from $4 or token <= $3)
            """
        run, token = str(ctx.fence.run_id), ctx.fence.token
        if await self._cells.pool.execute(sql, params.cell, str(ctx.fence), token, run) == "UPDATE 0":
            raise FencedError(f"cell {params.cell} carries a newer fence")

    async def capture(self, ctx: StepContext, params: CellParameters) -> State:
        await self._cells.pass_point("capture", ctx)
        return {"value": await self._cells.value(params.cell)}

    async def execute(self, ctx: StepContext, params: CellParameters, state: State) -> CellResult:
        await self._cells.pass_point("before_effect", ctx)
        sql = """
            with changed as (update cells set value = $2 where name = $1 and fence = $3 returning name)
            insert into effects (step_key, cell, kind, fence) select $4, name, 'set', $3 from changed
            """
        token = str(ctx.fence)
        if await self._cells.pool.execute(sql, params.cell, params.value, token, ctx.step_key) == "INSERT 0 0":
            raise FencedError(f"cell {params.cell} carries another fence than {token}")
        await self._cells.pass_point("after_effect", ctx)
        return CellResult(value=params.value)

    async def observe(self, ctx: StepContext, params: CellParameters, state: State) -> Observed[CellResult]:
        await self._cells.pass_point("observe", ctx)
        sql = "select exists (select from effects where step_key = $1)"
        seen = await self._cells.pool.fetchval(sql, ctx.step_key)
        await self._cells.pass_point("observed", ctx)
        if seen:
            return Observed(seen=Seen.TOOK_EFFECT, result=CellResult(value=params.value))
        return Observed(seen=Seen.NO_EFFECT, detail=self._cells.no_effect)

    async def undo(self, ctx: StepContext, params: CellParameters, state: State) -> Undone:
        await self.claim(ctx, params)
        await self._cells.pass_point("before_undo", ctx)
        sql = """
            with changed as (update cells set value = $2 where name = $1 and value = $3 and fence = $4 returning name)
            insert into effects (step_key, cell, kind, fence) select $5, name, 'undo', $4 from changed
            """
        arguments = (params.cell, state["value"], params.value, str(ctx.fence), ctx.step_key)
        done = await self._cells.pool.execute(sql, *arguments)
        return Undone.DRIFTED if done == "INSERT 0 0" else Undone.UNDONE

    async def announce(self, ctx: StepContext, params: CellParameters, state: State, *, undone: bool) -> None:
        await self._cells.pass_point("announce", ctx)
        self._cells.announced.append(f"{ctx.step_id} {'undone' if undone else 'done'}")


class BlindSetCell(SetCell):
    """The same on a target that can neither hold a fence nor tell whether a change took effect."""

    name = "cell.set_blind"
    undoable = Undo.NONE
    holds_fence = False
    destructive = True

    async def claim(self, ctx: StepContext, params: CellParameters) -> None:
        sql = "update cells set fence = $2, token = $3 where name = $1"
        await self._cells.pool.execute(sql, params.cell, str(ctx.fence), ctx.fence.token)

    async def observe(self, ctx: StepContext, params: CellParameters, state: State) -> Observed[CellResult]:
        await self._cells.pass_point("observe", ctx)
        return Observed(seen=Seen.UNKNOWN, detail="the cell cannot tell")


class CutOffCell(SetCell):
    """The same, of use whatever else is down."""

    name = "cell.cut_off"
    awaits_dependencies = False


class CellIs(Check[CellParameters]):
    """A cell's value: equal holds, another is contrary, none is no evidence."""

    name = "cell.is"
    summary = "A cell has a value."
    example = "cell.is: {cell: a, value: 2}"
    parameters = CellParameters

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def permissions(self, params: CellParameters) -> tuple[Permission, ...]:
        return ()

    async def evaluate(self, ctx: StepContext, params: CellParameters) -> Verdict:
        await self._cells.pass_point("check", ctx)
        value = await self._cells.value(params.cell)
        holds = None if value is None else value == params.value
        return Verdict(holds=holds, detail=f"cell {params.cell} is {value}")


def playbook(**changes: Any) -> dict[str, Any]:
    """A playbook that sets the alert's cell to 2 when ``HdrCell`` fires; ``changes`` replace its keys."""
    guards = {"mode": "auto", "cooldown": "0s", "budget": {"runs": 100, "per": "1h"}} | changes.pop("guards", {})
    document: dict[str, Any] = {
        "apiVersion": "hdr-responder/v1",
        "kind": "Playbook",
        "metadata": {"name": "set-cell", "summary": "Sets a cell."},
        "match": ['alertname = "HdrCell"'],
        "priorities": ["P1", "P2", "P3"],
        "params": {"cell": "${alert.labels['cell']}"},
        "guards": guards,
        "steps": [{"id": "change", "action": "cell.set", "with": {"cell": "${params.cell}"}}],
        "verify": {"within": "1m", "all": [{"cell.is": {"cell": "${params.cell}"}}]},
        "on_failure": [{"action": "incident.escalate"}],
    }
    document |= changes
    if "params" not in changes and "params.cell" not in json.dumps(document):
        del document["params"]
    return document
