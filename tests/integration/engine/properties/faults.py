"""Makes happen, at a point of a step, what a fault says; a worker that is frozen stands still until it is thawed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from hdr_responder.actions.contract import StepContext
from hdr_responder.errors import AmbiguousError, PermanentError, TemporaryError
from tests.integration.engine.cells import Cells, Point, WorkerDied
from tests.integration.engine.properties.model import World
from tests.integration.engine.properties.strategies import POINTS, STOPS, Fault
from tests.integration.engine.workshop import Workshop

SOMEBODY_SETS = 9
"""What nobody else writes."""


@dataclass
class Hand:
    """One job at work on one worker."""

    worker: Workshop
    job_id: int
    frozen: asyncio.Event = field(default_factory=asyncio.Event)
    thaw: asyncio.Event = field(default_factory=asyncio.Event)

    async def freeze(self) -> None:
        self.frozen.set()
        await self.thaw.wait()


HAND: ContextVar[Hand] = ContextVar("hand")
"""Whose work reaches a point."""

_OF_UNDO = frozenset({"claim", "before_undo"})
Act = Callable[[], Awaitable[object]]


class Faults:
    """What is going to happen, by point."""

    def __init__(
        self, cells: Cells, world: World, *, pause: Act, cancel: Callable[[uuid.UUID], Awaitable[object]]
    ) -> None:
        self._cells = cells
        self._world = world
        self._pause = pause
        self._cancel = cancel
        self._armed: dict[Point, list[Fault]] = {}
        self._left: dict[Point, int] = {}
        for point in POINTS:
            cells.at[point] = self._at(point)

    def arm(self, fault: Fault) -> None:
        self._armed.setdefault(fault.point, []).extend([fault] * fault.times)

    def stop(self) -> None:
        """Disarm what stops workers or is a person's doing; targets may go on failing."""
        for point, faults in self._armed.items():
            self._armed[point] = [f for f in faults if f.kind not in {*STOPS, "pauses", "cancels", "somebody_sets"}]

    def _at(self, point: Point) -> Callable[[StepContext], Awaitable[None]]:
        async def happen(ctx: StepContext) -> None:
            if self._armed.get(point):
                await self._happen(self._armed[point].pop(0), ctx)

        return happen

    async def _happen(self, fault: Fault, ctx: StepContext) -> None:
        if fault.point in _OF_UNDO or fault.kind == "somebody_sets":
            self._world.disturbed = True
        if fault.kind in _ERRORS:
            raise _ERRORS[fault.kind]()
        match fault.kind:
            case "freezes":
                await HAND.get().freeze()
            case "drains":
                HAND.get().worker.engine.executor.draining.set()
            case "somebody_sets":
                await self._cells.pool.execute("update cells set value = $1", SOMEBODY_SETS)
            case "pauses":
                await self._pause()
            case "cancels":
                await self._cancel(ctx.fence.run_id)


_ERRORS: dict[str, Callable[[], BaseException]] = {
    "dies": WorkerDied,
    "temporary": lambda: TemporaryError("not now"),
    "permanent": lambda: PermanentError("never"),
    "lost_answer": lambda: AmbiguousError("the connection broke"),
    "no_answer": TimeoutError,
    "defect": lambda: RuntimeError("a defect"),
}
