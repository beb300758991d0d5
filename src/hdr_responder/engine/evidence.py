"""Keeps what an action found (logs, a process list) with the incident before it is gone."""

from __future__ import annotations

import hashlib

from hdr_responder.actions.contract import Evidence
from hdr_responder.domain.clock import Clock, NewId
from hdr_responder.domain.ports.artifacts import ArtifactBytes
from hdr_responder.domain.ports.store import Artifact, Store
from hdr_responder.domain.runs import Run
from hdr_responder.domain.timeline import EntryKind, TimelineEntry

MAX_BYTES = 16 * 1024 * 1024


class IncidentEvidence(Evidence):
    """Evidence of one step of a run."""

    def __init__(
        self, *, run: Run, step_id: str, bytes_: ArtifactBytes, store: Store, clock: Clock, new_id: NewId
    ) -> None:
        self._run = run
        self._step_id = step_id
        self._bytes = bytes_
        self._store = store
        self._clock = clock
        self._new_id = new_id

    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        """Store the bytes, then the record with its timeline entry; content beyond `MAX_BYTES` is cut."""
        kept = content[:MAX_BYTES]
        artifact = Artifact(
            id=self._new_id(),
            incident_id=self._run.incident_id,
            run_id=self._run.id,
            step_id=self._step_id,
            name=name,
            media_type=media_type,
            size=len(kept),
            sha256=hashlib.sha256(kept).digest(),
            path=f"incidents/{self._run.incident_id}/{self._run.id}/{self._step_id}/{self._new_id()}",
            created_at=self._clock.now(),
        )
        await self._bytes.put(artifact.path, kept)
        cut = f", cut from {len(content)}" if len(content) > len(kept) else ""
        async with self._store.transaction() as tx:
            await tx.artifacts.add(artifact)
            await tx.timeline.append(
                [
                    TimelineEntry(
                        incident_id=self._run.incident_id,
                        at=artifact.created_at,
                        kind=EntryKind.ARTIFACT,
                        summary=f"Kept {name} ({artifact.size} bytes{cut}) from step {self._step_id}",
                        run_id=self._run.id,
                        detail={"artifact": str(artifact.id), "sha256": artifact.sha256.hex()},
                    )
                ]
            )
        return str(artifact.id)
