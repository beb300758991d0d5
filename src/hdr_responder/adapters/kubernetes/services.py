"""Reads Services and the pods that their EndpointSlices name."""

from __future__ import annotations

from hdr_responder.adapters.kubernetes import shapes
from hdr_responder.adapters.kubernetes.calls import Calls
from hdr_responder.domain.ports.kubernetes import Endpoint, Service


class Services(Calls):
    """Implements `ServiceCalls`."""

    async def services(self, namespace: str) -> tuple[Service, ...]:
        """List the namespace's Services."""
        return tuple(shapes.service(each) for each in await self._list(shapes.SERVICES, namespace))

    async def service(self, namespace: str, name: str) -> Service:
        """Read one Service."""
        return shapes.service(await self._get(shapes.SERVICES, namespace, name))

    async def endpoints(self, namespace: str) -> tuple[Endpoint, ...]:
        """List the pods in the namespace's EndpointSlices."""
        items = await self._list(shapes.ENDPOINT_SLICES, namespace)
        return tuple(endpoint for each in items for endpoint in shapes.endpoints(each))
