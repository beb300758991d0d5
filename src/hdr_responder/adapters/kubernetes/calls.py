"""What every family of calls shares: one cluster's connection, and reading one object or a bounded list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from hdr_responder.adapters.kubernetes.connection import Connection
from hdr_responder.adapters.kubernetes.requests import ApiRequest
from hdr_responder.domain.ports.kubernetes import MANAGER, ObjectMeta
from hdr_responder.errors import PermanentError

LIST_LIMIT = 500
"""Most objects that a listing reads; a namespace with more is answered with an error, never half."""
PAGES = 10
"""Most such listings, one following the other, where a namespace may well hold more."""


class Calls:
    """Base of the families."""

    def __init__(self, name: str, connection: Connection) -> None:
        self._name = name
        self._connection = connection

    @property
    def name(self) -> str:
        """The cluster's name in settings."""
        return self._name

    async def _get(self, resource: str, namespace: str, name: str) -> Mapping[str, Any]:
        return await self._connection.json(ApiRequest(verb="get", resource=resource, namespace=namespace, name=name))

    async def _list(self, resource: str, namespace: str) -> tuple[Mapping[str, Any], ...]:
        request = ApiRequest(verb="list", resource=resource, namespace=namespace, query=(("limit", str(LIST_LIMIT)),))
        answer: Mapping[str, Any] = await self._connection.json(request)
        if at(answer, "metadata", "continue"):
            raise PermanentError(f"cluster {self._name}: {request}: more than {LIST_LIMIT}, not judged by a part")
        return tuple(answer.get("items") or ())

    async def _pages(self, resource: str, namespace: str, *chosen: tuple[str, str]) -> tuple[Mapping[str, Any], ...]:
        """List page by page all that ``chosen`` selectors leave; more than `PAGES` pages are an error, never half."""
        found: list[Mapping[str, Any]] = []
        following = ""
        for _ in range(PAGES):
            query = (*chosen, ("limit", str(LIST_LIMIT)), *([("continue", following)] if following else []))
            request = ApiRequest(verb="list", resource=resource, namespace=namespace, query=query)
            answer: Mapping[str, Any] = await self._connection.json(request)
            found += answer.get("items") or ()
            following = at(answer, "metadata", "continue") or ""
            if not following:
                return tuple(found)
        raise PermanentError(f"cluster {self._name}: {request}: more than {PAGES * LIST_LIMIT}, not judged by a part")

    async def _create(self, resource: str, manifest: Mapping[str, JsonValue], *, dry_run: bool) -> None:
        await self._connection.json(
            ApiRequest(
                verb="create",
                resource=resource,
                namespace=str(at(manifest, "metadata", "namespace")),
                query=(("fieldManager", MANAGER),),
                body=dict(manifest),
                dry_run=dry_run,
            )
        )

    async def _delete(self, meta: ObjectMeta, *, dry_run: bool = False) -> None:
        """Delete an object only while it is exactly the one seen."""
        ref = meta.ref
        await self._connection.json(
            ApiRequest(
                verb="delete",
                resource=ref.resource,
                namespace=ref.namespace,
                name=ref.name,
                body={
                    "apiVersion": "v1",
                    "kind": "DeleteOptions",
                    "preconditions": {"uid": meta.uid, "resourceVersion": meta.resource_version},
                },
                dry_run=dry_run,
            )
        )


def at(value: Any, *path: str) -> Any:
    """Return what is at ``path`` of nested objects, None where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
