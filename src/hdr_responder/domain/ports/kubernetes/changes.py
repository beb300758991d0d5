"""Changes of any object, and the story of them that `kubectl describe` tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hdr_responder.domain.ports.kubernetes.objects import JsonPatch, ObjectMeta, ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is told on an object as a core/v1 Event.

    ``key`` makes it one event however often it is sent; ``reason`` is one word in upper camel case (``Restarted``).
    """

    key: str
    reason: str
    message: str
    at: datetime


class ChangeCalls(Protocol):
    """Changes objects."""

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        """Apply a JSON patch; with ``dry_run`` the server rehearses it through admission and stores nothing.

        Raises ConflictError when the object is not as the patch assumes (a ``test`` or a path failed, a concurrent
        writer won), PermanentError when the result would be invalid, AmbiguousError when the answer was lost.
        """

    async def note(self, about: ObjectMeta, note: Note, *, dry_run: bool = False) -> None:
        """Write an Event on an object; one that has been written already (by ``note.key``) is left as it is."""
