"""The network of a test's namespace as its administrator sees it: policies, Services and endpoints."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hdr_responder.adapters.kubernetes import KubernetesAdapter
from tests.fakes.everywhere import EVERYWHERE
from tests.integration.kubernetes.steps import CLUSTER
from tests.services.kubernetes import ControlPlane
from tests.services.processes import poll

SELECTOR = {"app": "neural-hdr"}


def policies_path(namespace: str) -> str:
    return f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"


def services_path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/services" + (f"/{name}" if name else "")


def policies(control_plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = control_plane.api.request("GET", policies_path(namespace))["items"]
    return items


def create_service(
    control_plane: ControlPlane,
    namespace: str,
    name: str,
    selector: Mapping[str, str] | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    **spec: Any,
) -> None:
    """A Service that selects the pods of ``neural-hdr``, unless told otherwise."""
    selected = SELECTOR if selector is None else selector
    body = {
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"ports": [{"port": 80}], **({"selector": dict(selected)} if selected else {}), **spec},
    }
    control_plane.api.request("POST", services_path(namespace), body)


def service(control_plane: ControlPlane, namespace: str, name: str) -> dict[str, Any]:
    return control_plane.api.request("GET", services_path(namespace, name))


def selector(control_plane: ControlPlane, namespace: str, name: str) -> dict[str, str] | None:
    found: dict[str, str] | None = service(control_plane, namespace, name)["spec"].get("selector")
    return found


def ours(control_plane: ControlPlane, namespace: str, name: str) -> set[str]:
    """The responder's marks of a cut on a Service, without those that every change leaves."""
    annotations = service(control_plane, namespace, name)["metadata"].get("annotations", {})
    always = {f"hdr-responder.io/{each}" for each in ("fence", "past-fences", "step", "undone")}
    return {key for key in annotations if key.startswith("hdr-responder.io/")} - always


def endpoints(control_plane: ControlPlane, namespace: str, name: str) -> int:
    """How many pods the Service's EndpointSlices name."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    slices = control_plane.api.request("GET", f"{path}?labelSelector=kubernetes.io/service-name={name}")["items"]
    return sum(len(each.get("endpoints") or ()) for each in slices)


def wait_endpoints(control_plane: ControlPlane, namespace: str, name: str, wanted: int) -> None:
    assert poll(lambda: endpoints(control_plane, namespace, name) == wanted, seconds=20), name


def by_administrator(control_plane: ControlPlane, work: Callable[[KubernetesAdapter], Awaitable[None]]) -> None:
    """Do ``await work(cluster)`` as one who may do everything, from code that cannot await."""

    async def done() -> None:
        cluster = KubernetesAdapter.connect(CLUSTER, control_plane.admin_kubeconfig, namespaces=EVERYWHERE)
        try:
            await work(cluster)
        finally:
            await cluster.close()

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, done()).result()
