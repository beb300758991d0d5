"""Reads pods and their logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hdr_responder.adapters.kubernetes import pod_states, shapes
from hdr_responder.adapters.kubernetes.calls import Calls
from hdr_responder.adapters.kubernetes.requests import ApiRequest
from hdr_responder.domain.ports.kubernetes import Log, LogQuery, Pod, PodState, Selector
from hdr_responder.errors import ConflictError, PermanentError

LOG_READ_LIMIT = 16 * 1024 * 1024
"""Most bytes that the server sends of one log, whatever its lines' length."""
FEWER = 8
"""By how much fewer lines are asked for when the wanted ones are more bytes than the server sends."""


class Pods(Calls):
    """Implements `PodCalls`."""

    async def pods(self, namespace: str, selector: Selector, *, limit: int) -> tuple[Pod, ...]:
        """List at most ``limit`` pods that the selector matches."""
        query = (("labelSelector", shapes.selector_text(selector)), ("limit", str(limit)))
        answer: Mapping[str, Any] = await self._connection.json(
            ApiRequest(verb="list", resource=shapes.PODS, namespace=namespace, query=query)
        )
        return tuple(shapes.pod(each) for each in answer.get("items") or ())

    async def pod_states(self, namespace: str, selector: Selector) -> tuple[PodState, ...]:
        """List all pods that the selector matches, page by page."""
        chosen = ("labelSelector", shapes.selector_text(selector))
        return tuple(map(pod_states.pod_state, await self._pages(shapes.PODS, namespace, chosen)))

    async def pod_log(self, query: LogQuery) -> Log:
        """Read the end of a container's log.

        Of lines that are more bytes than the server sends it leaves out the last ones: then fewer are asked for.
        """
        tail = query.tail
        while True:
            content, size = await self._sent_log(query, tail)
            if size < LOG_READ_LIMIT or tail == 1:
                return Log(content=content, cut=tail < query.tail or size > len(content))
            tail = max(tail // FEWER, 1)

    async def _sent_log(self, query: LogQuery, tail: int) -> tuple[bytes, int]:
        """Return the last bytes of what the server sends of the last ``tail`` lines, and how many it sends."""
        since = [("sinceSeconds", str(query.since_seconds))] if query.since_seconds is not None else []
        request = ApiRequest(
            verb="get",
            resource="pods/log",
            namespace=query.namespace,
            name=query.pod,
            query=(
                ("container", query.container),
                ("tailLines", str(tail)),
                *since,
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
