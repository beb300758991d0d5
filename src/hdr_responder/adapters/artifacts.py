"""Evidence in an object store: S3, GCS, Azure or a local folder behind one interface (obstore)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as MissingError
from obstore.store import LocalStore, from_url

from hdr_responder.errors import NotFoundError, UnavailableError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

TIMEOUT_SECONDS = 30.0


class ObjectStoreArtifacts:
    """Implements `ArtifactBytes`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def open(cls, url: str) -> ObjectStoreArtifacts:
        """Open the store at ``url``: ``s3://``, ``gs://``, ``az://`` or ``file://`` (a folder, made when absent)."""
        parts = urlsplit(url)
        if parts.scheme == "file":
            return cls(LocalStore(prefix=Path(unquote(parts.path)), mkdir=True))
        return cls(from_url(url))

    async def put(self, path: str, content: bytes) -> None:
        """Store ``content``; raises UnavailableError when the store cannot be reached."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await obstore.put_async(self._store, path, content)
        except (BaseError, OSError, TimeoutError) as error:
            raise UnavailableError(f"the artifact store cannot be written: {type(error).__name__}") from error

    async def get(self, path: str) -> bytes:
        """Return the stored bytes; raises NotFoundError, and UnavailableError when the store cannot be reached."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                found = await obstore.get_async(self._store, path)
                return bytes(await found.bytes_async())
        except (MissingError, FileNotFoundError) as error:
            raise NotFoundError("the artifact's bytes are not in the store any more") from error
        except (BaseError, OSError, TimeoutError) as error:
            raise UnavailableError(f"the artifact store cannot be read: {type(error).__name__}") from error
