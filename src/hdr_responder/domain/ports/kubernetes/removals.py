"""Taking single pods away, by deletion or by an eviction that honours disruption budgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hdr_responder.domain.ports.kubernetes.objects import ObjectMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedPod:
    """One pod with what stands above it; ``owner`` is the topmost controller (``Deployment/neural-hdr``)."""

    meta: ObjectMeta
    owner: str | None
    ready: bool
    leaving: bool
    """Whether it is being deleted already."""


class RemovalCalls(Protocol):
    """Reads and removes one pod."""

    async def owned_pod(self, namespace: str, name: str) -> OwnedPod:
        """Read a pod and follow its controllers to the topmost."""

    async def delete_pod(self, meta: ObjectMeta, *, dry_run: bool = False) -> None:
        """Delete the pod only while it is exactly the one seen (uid and resourceVersion), else ConflictError."""

    async def evict_pod(self, meta: ObjectMeta, *, dry_run: bool = False) -> None:
        """Evict the pod only while it is exactly the one seen, else ConflictError.

        Raises TemporaryError when a PodDisruptionBudget does not allow it now (Kubernetes contract: 429).
        """
