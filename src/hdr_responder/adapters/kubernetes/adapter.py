"""A Kubernetes cluster behind the domain's port: requests out, domain objects in, nothing decided here."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from hdr_responder.adapters.kubernetes import shapes
from hdr_responder.adapters.kubernetes.connection import Access, Connection
from hdr_responder.adapters.kubernetes.requests import VERSION, ApiRequest, Resource
from hdr_responder.domain.ports.kubernetes import (
    MANAGER,
    Autoscaler,
    ClusterIdentity,
    JsonPatch,
    LogQuery,
    NetworkPolicy,
    ObjectMeta,
    ObjectRef,
    Pod,
    Right,
    Selector,
    WorkloadState,
)
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConflictError, HdrError, NotFoundError, PermanentError

DEFAULT_TIMEOUT_SECONDS = 10.0
LIST_LIMIT = 500
"""Most objects that a listing reads; a namespace with more is answered with an error, never half."""
LOG_READ_LIMIT = 16 * 1024 * 1024
"""Most bytes that the server sends of one log, whatever its lines' length."""


class KubernetesAdapter:
    """One cluster; see `KubernetesCluster` for what each method promises."""

    def __init__(self, name: str, connection: Connection) -> None:
        self._name = name
        self._connection = connection

    @classmethod
    def connect(
        cls,
        name: str,
        kubeconfig: Path | None = None,
        context: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> KubernetesAdapter:
        """Return the cluster ``name``; nothing is read or reached before the first call.

        Without ``kubeconfig`` it is the cluster we run in, else ``$KUBECONFIG`` or ``~/.kube/config``. ``timeout`` is
        seconds per call. Wrong credentials files raise ConfigError at the first call.
        """
        access = Access(cluster=name, kubeconfig=kubeconfig, context=context, timeout_seconds=timeout)
        return cls(name, Connection(access))

    @staticmethod
    def load_library() -> None:
        """Import the client library, which takes a third of a second: call it in a thread before serving."""
        importlib.import_module("kubernetes_asyncio.client")
        importlib.import_module("kubernetes_asyncio.config")

    @property
    def name(self) -> str:
        """The cluster's name in settings."""
        return self._name

    async def close(self) -> None:
        """Close the sockets."""
        await self._connection.close()

    async def ping(self) -> ClusterIdentity:
        """Tell who answers and whom it takes us for."""
        try:
            review = await self._connection.json(
                ApiRequest(
                    verb="create",
                    resource="authentication.k8s.io/selfsubjectreviews",
                    body={"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"},
                )
            )
            user = _at(review, "status", "userInfo", "username")
        except NotFoundError:  # servers before 1.28
            user = ""
        version = await self._connection.json(ApiRequest(verb="get", resource=VERSION))
        return ClusterIdentity(version=str(version.get("gitVersion", "")), user=str(user or ""))

    async def may(self, right: Right) -> bool:
        """Ask for one right by SelfSubjectAccessReview."""
        resource = Resource.parse(right.resource)
        attributes: dict[str, JsonValue] = {
            "verb": right.verb,
            "group": resource.group,
            "resource": resource.plural,
            "subresource": resource.subresource,
            "namespace": right.namespace,
        }
        review = await self._connection.json(
            ApiRequest(
                verb="create",
                resource="authorization.k8s.io/selfsubjectaccessreviews",
                body={
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SelfSubjectAccessReview",
                    "spec": {"resourceAttributes": attributes},
                },
            )
        )
        return _at(review, "status", "allowed") is True

    async def workload(self, workload: Workload) -> WorkloadState:
        """Read a workload."""
        resource = shapes.RESOURCES[workload.kind]
        try:
            item = await self._get(resource, workload.namespace, workload.name)
        except NotFoundError as e:
            similar = await self._similar(resource, workload)
            raise NotFoundError(
                f"cluster {self._name}: no {workload} in namespace {workload.namespace}{similar}"
            ) from e
        return shapes.workload_state(workload.kind, item)

    async def autoscaler(self, workload: Workload) -> Autoscaler | None:
        """Find the autoscaler that targets the workload."""
        items = await self._list(shapes.AUTOSCALERS, workload.namespace)
        found = [shapes.autoscaler(each) for each in items if shapes.scales(each, workload.kind, workload.name)]
        if len(found) > 1:
            names = ", ".join(sorted(each.meta.ref.name for each in found))
            raise ConflictError(f"cluster {self._name}: several autoscalers target {workload}: {names}")
        return found[0] if found else None

    async def read_autoscaler(self, namespace: str, name: str) -> Autoscaler:
        """Read one autoscaler."""
        return shapes.autoscaler(await self._get(shapes.AUTOSCALERS, namespace, name))

    async def pods(self, namespace: str, selector: Selector, *, limit: int) -> tuple[Pod, ...]:
        """List at most ``limit`` pods that the selector matches."""
        query = (("labelSelector", shapes.selector_text(selector)), ("limit", str(limit)))
        answer: Mapping[str, Any] = await self._connection.json(
            ApiRequest(verb="list", resource=shapes.PODS, namespace=namespace, query=query)
        )
        return tuple(shapes.pod(each) for each in answer.get("items") or ())

    async def pod_log(self, query: LogQuery) -> bytes:
        """Read the end of a container's log."""
        request = ApiRequest(
            verb="get",
            resource="pods/log",
            namespace=query.namespace,
            name=query.pod,
            query=(
                ("container", query.container),
                ("tailLines", str(query.tail)),
                ("limitBytes", str(LOG_READ_LIMIT)),
                ("previous", "true" if query.previous else "false"),
            ),
        )
        try:
            return await self._connection.tail(request, query.max_bytes)
        except PermanentError as e:
            if type(e) is PermanentError:  # 400: "container ... is waiting to start", "previous ... not found"
                raise ConflictError(str(e)) from e
            raise

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        """Apply a JSON patch."""
        await self._connection.json(
            ApiRequest(
                verb="patch",
                resource=ref.resource,
                namespace=ref.namespace,
                name=ref.name,
                query=(("fieldManager", MANAGER),),
                body=[dict(operation) for operation in operations],
                content_type="application/json-patch+json",
                dry_run=dry_run,
            )
        )

    async def network_policies(self, namespace: str) -> tuple[NetworkPolicy, ...]:
        """List the namespace's network policies."""
        items = await self._list(shapes.NETWORK_POLICIES, namespace)
        return tuple(shapes.network_policy(each) for each in items)

    async def network_policy(self, namespace: str, name: str) -> NetworkPolicy:
        """Read one network policy."""
        return shapes.network_policy(await self._get(shapes.NETWORK_POLICIES, namespace, name))

    async def create_network_policy(self, manifest: Mapping[str, JsonValue], *, dry_run: bool = False) -> None:
        """Create a network policy."""
        await self._connection.json(
            ApiRequest(
                verb="create",
                resource=shapes.NETWORK_POLICIES,
                namespace=str(_at(manifest, "metadata", "namespace")),
                query=(("fieldManager", MANAGER),),
                body=dict(manifest),
                dry_run=dry_run,
            )
        )

    async def delete_network_policy(self, meta: ObjectMeta) -> None:
        """Delete the policy while it is exactly the one seen."""
        await self._connection.json(
            ApiRequest(
                verb="delete",
                resource=shapes.NETWORK_POLICIES,
                namespace=meta.ref.namespace,
                name=meta.ref.name,
                body={
                    "apiVersion": "v1",
                    "kind": "DeleteOptions",
                    "preconditions": {"uid": meta.uid, "resourceVersion": meta.resource_version},
                },
            )
        )

    async def _get(self, resource: str, namespace: str, name: str) -> Mapping[str, Any]:
        return await self._connection.json(ApiRequest(verb="get", resource=resource, namespace=namespace, name=name))

    async def _list(self, resource: str, namespace: str) -> tuple[Mapping[str, Any], ...]:
        request = ApiRequest(verb="list", resource=resource, namespace=namespace, query=(("limit", str(LIST_LIMIT)),))
        answer: Mapping[str, Any] = await self._connection.json(request)
        if _at(answer, "metadata", "continue"):
            raise PermanentError(f"cluster {self._name}: {request}: more than {LIST_LIMIT}, not judged by a part")
        return tuple(answer.get("items") or ())

    async def _similar(self, resource: str, workload: Workload) -> str:
        """Return a hint with names like the missing one; whatever goes wrong with the hint, the answer stays 'no'."""
        try:
            items = await self._list(resource, workload.namespace)
        except HdrError:
            return ""
        names = [str(each["metadata"]["name"]) for each in items]
        close = difflib.get_close_matches(workload.name, names, n=3)
        if close:
            return f" (did you mean {', '.join(close)}?)"
        return f" (it has: {', '.join(sorted(names)[:5])})" if names else ""


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
