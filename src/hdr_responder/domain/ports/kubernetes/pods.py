"""Pods and what their containers say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hdr_responder.domain.ports.kubernetes.objects import Selector


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One pod; ``owner`` is ``Kind/name`` of its controller."""

    namespace: str
    name: str
    owner: str | None
    containers: tuple[str, ...]
    phase: str
    ready: bool
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which log to read: the last ``tail`` lines, of them at most the last ``max_bytes``.

    ``previous`` reads the container's run before its last restart.
    """

    namespace: str
    pod: str
    container: str
    tail: int
    max_bytes: int
    previous: bool = False


class PodCalls(Protocol):
    """Reads pods."""

    async def pods(self, namespace: str, selector: Selector, *, limit: int) -> tuple[Pod, ...]:
        """List at most ``limit`` pods that the selector matches."""

    async def pod_log(self, query: LogQuery) -> bytes:
        """Read a container's log; raises ConflictError when the container has none (yet)."""
