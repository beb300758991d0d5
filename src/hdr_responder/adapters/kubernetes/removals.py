"""Reads a pod with its owners, deletes and evicts it."""

from __future__ import annotations

from hdr_responder.adapters.kubernetes import shapes
from hdr_responder.adapters.kubernetes.calls import Calls
from hdr_responder.adapters.kubernetes.requests import ApiRequest
from hdr_responder.domain.ports.kubernetes import ObjectMeta, OwnedPod
from hdr_responder.errors import NotFoundError


class Removals(Calls):
    """Implements `RemovalCalls`."""

    async def owned_pod(self, namespace: str, name: str) -> OwnedPod:
        """Read a pod and follow its controllers to the topmost."""
        item = await self._get(shapes.PODS, namespace, name)
        seen = shapes.pod(item)
        return OwnedPod(
            meta=shapes.object_meta(shapes.PODS, item),
            owner=await self._topmost(namespace, seen.owner),
            ready=seen.ready,
            leaving="deletionTimestamp" in item["metadata"],
        )

    async def delete_pod(self, meta: ObjectMeta, *, dry_run: bool = False) -> None:
        """Delete the pod while it is exactly the one seen."""
        await self._delete(meta, dry_run=dry_run)

    async def evict_pod(self, meta: ObjectMeta, *, dry_run: bool = False) -> None:
        """Evict the pod while it is exactly the one seen."""
        await self._connection.json(
            ApiRequest(
                verb="create",
                resource="pods/eviction",
                namespace=meta.ref.namespace,
                name=meta.ref.name,
                body={
                    "apiVersion": "policy/v1",
                    "kind": "Eviction",
                    "metadata": {"name": meta.ref.name, "namespace": meta.ref.namespace},
                    "deleteOptions": {"preconditions": {"uid": meta.uid, "resourceVersion": meta.resource_version}},
                },
                dry_run=dry_run,
            )
        )

    async def _topmost(self, namespace: str, owner: str | None) -> str | None:
        """Return the Deployment above a ReplicaSet; every other controller of pods stands for itself."""
        kind, _, name = (owner or "").partition("/")
        if kind != "ReplicaSet":
            return owner
        try:
            above = shapes.controller((await self._get("apps/replicasets", namespace, name))["metadata"])
        except NotFoundError:
            return owner
        return above or owner
