"""Jobs and the CronJobs that they are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pydantic import JsonValue

from hdr_responder.domain.ports.kubernetes.objects import ObjectMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class CronJob:
    """A CronJob; a suspended one serves as a template of jobs that only run when asked for."""

    meta: ObjectMeta
    suspended: bool
    overlaps: bool
    """Whether its jobs may run at the same time (``concurrencyPolicy: Allow``)."""
    template: Mapping[str, JsonValue]
    """Its ``jobTemplate`` as the cluster writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One Job; ``owner_uids`` are the uids of those that it was made from."""

    meta: ObjectMeta
    suspended: bool
    state: Literal["going", "complete", "failed"]
    reason: str
    """Why it failed, for people; empty else."""
    succeeded: int
    failed: int
    started_at: datetime | None
    ended_at: datetime | None
    owner_uids: tuple[str, ...]


class JobCalls(Protocol):
    """Reads CronJobs, reads and creates Jobs."""

    async def cron_job(self, namespace: str, name: str) -> CronJob:
        """Read one CronJob."""

    async def job(self, namespace: str, name: str) -> Job:
        """Read one Job."""

    async def jobs(self, namespace: str) -> tuple[Job, ...]:
        """List the namespace's Jobs."""

    async def create_job(self, manifest: Mapping[str, JsonValue], *, dry_run: bool = False) -> None:
        """Create a Job; raises ConflictError when one of that name exists."""
