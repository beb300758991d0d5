"""Judges how many replicas a workload has: those that a change should have given it, or those that serve now."""

from __future__ import annotations

from pydantic import Field, model_validator

from hdr_responder.actions.contract import Check, Parameters, Permission, StepContext, Verdict
from hdr_responder.actions.kubernetes.rights import AUTOSCALERS, rights, workload_rights
from hdr_responder.domain.ports.kubernetes import KubernetesCluster, WorkloadState
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ForbiddenError, TemporaryError


class ReplicasParameters(Parameters):
    """How many replicas there must be: exactly ``equals``, or ``at_least`` so many available ones."""

    workload: Workload
    equals: int | None = Field(default=None, ge=0)
    at_least: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> ReplicasParameters:
        if (self.equals is None) == (self.at_least is None):
            raise ValueError("give either equals or at_least")
        return self


class Replicas(Check[ReplicasParameters]):
    """Holds when the workload has as many available replicas as asked for."""

    name = "kubernetes.replicas"
    summary = "The workload has so many available replicas."
    example = """\
kubernetes.replicas:
  workload: "${params.workload}"
  at_least: 6
"""
    parameters = ReplicasParameters

    def permissions(self, params: ReplicasParameters) -> tuple[Permission, ...]:
        """Return the rights to read the workload and, for ``at_least``, to find its autoscaler."""
        own = workload_rights(params.workload, "get")
        return (*own, *rights(params.workload, AUTOSCALERS, "list")) if params.equals is None else own

    async def evaluate(self, ctx: StepContext, params: ReplicasParameters) -> Verdict:
        """Count; a workload that is on its way to the number is no evidence yet."""
        cluster = ctx.systems.cluster(params.workload.cluster)
        try:
            seen = await cluster.workload(params.workload)
            if seen.observed_generation < seen.meta.generation:
                return Verdict(holds=None, detail="the controller has not seen the change yet")
            if params.equals is not None:
                return exactly(seen, params.equals)
            return await _at_least(cluster, seen, params)
        except TemporaryError as e:
            return Verdict(holds=None, detail=str(e))


def exactly(seen: WorkloadState, wanted: int) -> Verdict:
    """Judge ``equals``: desired, existing and available replicas are all this many."""
    detail = f"{seen.available} of {seen.desired} replicas available, {seen.total} exist, {wanted} expected"
    if seen.desired != wanted:
        return Verdict(holds=False, detail=detail)
    return Verdict(holds=True if seen.total == seen.available == wanted else None, detail=detail)


async def _at_least(cluster: KubernetesCluster, seen: WorkloadState, params: ReplicasParameters) -> Verdict:
    wanted = params.at_least or 0
    detail = f"{seen.available} of {seen.desired} replicas available, at least {wanted} expected"
    if seen.available >= wanted:
        return Verdict(holds=True, detail=detail)
    if seen.desired >= wanted:
        return Verdict(holds=None, detail=detail)
    try:
        autoscaler = await cluster.autoscaler(params.workload)
    except ForbiddenError as e:
        return Verdict(holds=None, detail=f"{detail}; {e}")
    if autoscaler is not None and autoscaler.min_replicas >= wanted:
        return Verdict(holds=None, detail=f"{detail}; {autoscaler.meta.ref} has not acted yet")
    return Verdict(holds=False, detail=detail)


class AvailableParameters(Parameters):
    """How many available replicas there must be."""

    shorthand = "workload"
    workload: Workload
    at_least: int = Field(default=1, ge=1)


class Available(Check[AvailableParameters]):
    """Holds when so many replicas are available now; fewer is contrary evidence, even if more are on their way."""

    name = "kubernetes.available"
    summary = "The workload has so many available replicas at this moment (default 1)."
    example = """\
kubernetes.available: {workload: "${service.workload}", at_least: 2}
"""
    parameters = AvailableParameters

    def permissions(self, params: AvailableParameters) -> tuple[Permission, ...]:
        """Return the right to read the workload."""
        return workload_rights(params.workload, "get")

    async def evaluate(self, ctx: StepContext, params: AvailableParameters) -> Verdict:
        """Count once."""
        try:
            seen = await ctx.systems.cluster(params.workload.cluster).workload(params.workload)
        except TemporaryError as e:
            return Verdict(holds=None, detail=str(e))
        detail = f"{seen.available} of {seen.desired} replicas available, at least {params.at_least} expected"
        return Verdict(holds=seen.available >= params.at_least, detail=detail)
