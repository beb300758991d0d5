"""A Kubernetes workload as every layer names it, so that one target has one key however it was found."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

WorkloadKind = Literal["deployment", "statefulset", "daemonset"]


class Workload(BaseModel):
    """A workload of one cluster.

    ``cluster`` is the alert's ``cluster`` label, which settings map to one Kubernetes context; an unmapped cluster is
    never changed. Namespace and name are as Kubernetes spells them (DNS label and subdomain), so that none can mean
    another place in a key or an address, whoever wrote it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: str
    namespace: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    kind: WorkloadKind
    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def key(self) -> str:
        """The lock key of this workload, unique over all clusters."""
        return f"kubernetes:{self.cluster}/{self.namespace}/{self.kind}/{self.name}"
