"""Records of evidence; the bytes are in the object store."""

from __future__ import annotations

import asyncpg

from hdr_responder.adapters.store.rows import names, read
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.ports.store import Artifact

SQL = load("artifacts")
COLUMNS = names(Artifact)


def to_artifact(row: asyncpg.Record) -> Artifact:
    """Return the artifact that a row holds."""
    return Artifact(**read(row, COLUMNS))


class PostgresArtifacts:
    """The `Artifacts` port."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add(self, artifact: Artifact) -> None:
        """Record one whose bytes are stored."""
        await self._session.execute(SQL["add"], *(getattr(artifact, column) for column in COLUMNS))

    async def of_incident(self, incident_id: int) -> list[Artifact]:
        """Return an incident's artifacts, oldest first."""
        return [to_artifact(row) for row in await self._session.fetch(SQL["of_incident"], incident_id)]
