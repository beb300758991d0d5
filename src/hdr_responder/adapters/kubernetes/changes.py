"""Changes objects, and tells on them what was changed and for which incident."""

from __future__ import annotations

from hdr_responder.adapters.kubernetes import shapes
from hdr_responder.adapters.kubernetes.calls import Calls
from hdr_responder.adapters.kubernetes.requests import ApiRequest
from hdr_responder.domain.ports.kubernetes import MANAGER, JsonPatch, Note, ObjectMeta, ObjectRef
from hdr_responder.errors import ConflictError


class Changes(Calls):
    """Implements `ChangeCalls`."""

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

    async def note(self, about: ObjectMeta, note: Note, *, dry_run: bool = False) -> None:
        """Write an Event on an object."""
        ref = about.ref
        try:
            await self._connection.json(
                ApiRequest(
                    verb="create",
                    resource="events",
                    namespace=ref.namespace,
                    query=(("fieldManager", MANAGER),),
                    body=shapes.event(about, note),
                    dry_run=dry_run,
                )
            )
        except ConflictError:
            return
