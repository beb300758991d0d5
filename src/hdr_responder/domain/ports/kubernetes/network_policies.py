"""Network policies, which cut pods off where the cluster's network plugin enforces them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from hdr_responder.domain.ports.kubernetes.objects import ObjectMeta, Selector


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """A NetworkPolicy; ``allows`` tells whether any rule of it lets traffic through."""

    meta: ObjectMeta
    pods: Selector
    isolates_ingress: bool
    isolates_egress: bool
    allows: bool


class NetworkPolicyCalls(Protocol):
    """Reads, creates and deletes network policies."""

    async def network_policies(self, namespace: str) -> tuple[NetworkPolicy, ...]:
        """List the namespace's network policies."""

    async def network_policy(self, namespace: str, name: str) -> NetworkPolicy:
        """Read one network policy."""

    async def create_network_policy(self, manifest: Mapping[str, JsonValue], *, dry_run: bool = False) -> None:
        """Create a network policy; raises ConflictError when one of that name exists."""

    async def delete_network_policy(self, meta: ObjectMeta, *, dry_run: bool = False) -> None:
        """Delete the policy only while it is exactly the one seen (uid and resourceVersion), else ConflictError."""
