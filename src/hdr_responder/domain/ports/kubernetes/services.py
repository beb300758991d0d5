"""Services and the endpoints behind them: which pods traffic is sent to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hdr_responder.domain.ports.kubernetes.objects import ObjectMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Service; ``selector`` is empty where Kubernetes finds no pods for it (ExternalName, endpoints by hand)."""

    meta: ObjectMeta
    selector: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A pod that an EndpointSlice names; ``service`` is empty for a slice that belongs to no Service."""

    service: str
    pod: str


class ServiceCalls(Protocol):
    """Reads Services and endpoints."""

    async def services(self, namespace: str) -> tuple[Service, ...]:
        """List the namespace's Services."""

    async def service(self, namespace: str, name: str) -> Service:
        """Read one Service."""

    async def endpoints(self, namespace: str) -> tuple[Endpoint, ...]:
        """List the pods in the namespace's EndpointSlices, ready or not; addresses without a pod are left out."""
