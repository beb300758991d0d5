"""Tells on the object itself what was done to it and for which incident, so that `kubectl describe` shows the story."""

from __future__ import annotations

from hdr_responder.actions.contract import Permission, StepContext
from hdr_responder.actions.kubernetes.rights import rights
from hdr_responder.domain.ports.kubernetes import MANAGER, Note, ObjectMeta
from hdr_responder.domain.workloads import Workload


def story_rights(workload: Workload) -> tuple[Permission, ...]:
    """Return the right to write Events in the workload's namespace."""
    return rights(workload, "events", "create")


async def tell(ctx: StepContext, cluster: str, about: ObjectMeta, *, reason: str, done: str) -> None:
    """Write one Event on an object: ``done`` reads on after our name (``restarted this``).

    ``reason`` is one word in upper camel case. The same step tells each reason once, however often it is asked.
    """
    note = Note(
        key=f"{ctx.step_key} {reason}",
        reason=reason,
        message=f"{MANAGER} {done} for {ctx.incident_ref}",
        at=ctx.clock.now(),
    )
    await ctx.systems.cluster(cluster).note(about, note)
