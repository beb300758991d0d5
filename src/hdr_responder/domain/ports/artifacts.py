"""Where the bytes of evidence are kept."""

from __future__ import annotations

from typing import Protocol


class ArtifactBytes(Protocol):
    """An object store."""

    async def put(self, path: str, content: bytes) -> None:
        """Store ``content``; raises TemporaryError when it cannot be reached."""
        ...

    async def get(self, path: str) -> bytes:
        """Return the stored bytes; raises NotFoundError."""
        ...
