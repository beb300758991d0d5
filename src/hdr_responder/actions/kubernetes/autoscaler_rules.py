"""What an autoscaler is told, as data, and the form in which one that we make scales nobody yet."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue

from hdr_responder.actions.contract import StepContext
from hdr_responder.actions.kubernetes.marks import FENCE, MANAGED_BY, replace, test
from hdr_responder.actions.kubernetes.rights import KINDS
from hdr_responder.domain.ports.kubernetes import MANAGER, Autoscaler, JsonPatch
from hdr_responder.domain.workloads import Workload

NOTHING = "hdr-responder-scales-nothing"
"""Name of the workload that an inert autoscaler is for; none has it."""


class Rules(BaseModel):
    """What an autoscaler is told: its bounds and what it scales by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum: int
    maximum: int
    metrics: list[JsonValue]

    @classmethod
    def by_cpu(cls, minimum: int, maximum: int, cpu_percent: int, before: Rules | None = None) -> Rules:
        """Return rules by CPU usage; whatever else an autoscaler scaled by ``before`` stays in its place."""
        target: dict[str, JsonValue] = {"type": "Utilization", "averageUtilization": cpu_percent}
        cpu: JsonValue = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
        metrics = before.metrics if before else []
        kept = [cpu if _is_cpu(metric) else metric for metric in metrics]
        return cls(minimum=minimum, maximum=maximum, metrics=kept if cpu in kept else [*kept, cpu])

    @classmethod
    def of(cls, seen: Autoscaler) -> Rules:
        """Return what an autoscaler is told now."""
        return cls(minimum=seen.min_replicas, maximum=seen.max_replicas, metrics=list(seen.metrics))

    def patch(self, after: Rules) -> JsonPatch:
        """Return the operations that test these rules and replace them."""
        old, new = self.fields(), after.fields()
        tested = [test(f"/spec/{field}", value) for field, value in old.items()]
        return [*tested, *(replace(f"/spec/{field}", value) for field, value in new.items())]

    def fields(self) -> dict[str, JsonValue]:
        """Return the fields of the autoscaler's spec."""
        return {"minReplicas": self.minimum, "maxReplicas": self.maximum, "metrics": self.metrics}


def manifest(ctx: StepContext, workload: Workload, rules: Rules, *, inert: bool) -> dict[str, JsonValue]:
    """Return the autoscaler as it is created: ours by label, fenced, with the incident for whoever finds it."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": workload.name,
            "namespace": workload.namespace,
            "labels": {MANAGED_BY: MANAGER},
            "annotations": {FENCE: str(ctx.fence), "hdr-responder.io/incident": ctx.incident_ref},
        },
        "spec": spec(workload, rules, inert=inert),
    }


def spec(workload: Workload, rules: Rules, *, inert: bool) -> dict[str, JsonValue]:
    """Return what the autoscaler is told, and whom it scales: nobody while it is inert."""
    name = NOTHING if inert else workload.name
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": KINDS[workload.kind], "name": name},
        **rules.fields(),
    }


def is_inert(seen: Autoscaler) -> bool:
    """Tell whether an autoscaler of ours is still (or again) as it is created."""
    return seen.meta.labels.get(MANAGED_BY) == MANAGER and seen.target.endswith(f"/{NOTHING}")


def _is_cpu(metric: JsonValue) -> bool:
    resource = metric.get("resource") if isinstance(metric, dict) and metric.get("type") == "Resource" else None
    return isinstance(resource, dict) and resource.get("name") == "cpu"
