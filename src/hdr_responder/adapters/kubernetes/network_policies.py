"""Reads, creates and deletes network policies."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from hdr_responder.adapters.kubernetes import shapes
from hdr_responder.adapters.kubernetes.calls import Calls
from hdr_responder.domain.ports.kubernetes import NetworkPolicy, ObjectMeta


class NetworkPolicies(Calls):
    """Implements `NetworkPolicyCalls`."""

    async def network_policies(self, namespace: str) -> tuple[NetworkPolicy, ...]:
        """List the namespace's network policies."""
        items = await self._list(shapes.NETWORK_POLICIES, namespace)
        return tuple(shapes.network_policy(each) for each in items)

    async def network_policy(self, namespace: str, name: str) -> NetworkPolicy:
        """Read one network policy."""
        return shapes.network_policy(await self._get(shapes.NETWORK_POLICIES, namespace, name))

    async def create_network_policy(self, manifest: Mapping[str, JsonValue], *, dry_run: bool = False) -> None:
        """Create a network policy."""
        await self._create(shapes.NETWORK_POLICIES, manifest, dry_run=dry_run)

    async def delete_network_policy(self, meta: ObjectMeta, *, dry_run: bool = False) -> None:
        """Delete the policy while it is exactly the one seen."""
        await self._delete(meta, dry_run=dry_run)
