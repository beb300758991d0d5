"""Reads CronJobs, reads and creates Jobs (batch/v1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import JsonValue

from hdr_responder.adapters.kubernetes import shapes
from hdr_responder.adapters.kubernetes.calls import Calls
from hdr_responder.domain.ports.kubernetes import CronJob, Job

Json = Mapping[str, Any]

CRON_JOBS = "batch/cronjobs"
JOBS = "batch/jobs"


class Jobs(Calls):
    """Implements `JobCalls`."""

    async def cron_job(self, namespace: str, name: str) -> CronJob:
        """Read one CronJob."""
        item = await self._get(CRON_JOBS, namespace, name)
        spec: Json = item["spec"]
        return CronJob(
            meta=shapes.object_meta(CRON_JOBS, item),
            suspended=bool(spec.get("suspend", False)),
            overlaps=spec.get("concurrencyPolicy", "Allow") == "Allow",
            template=spec["jobTemplate"],
        )

    async def job(self, namespace: str, name: str) -> Job:
        """Read one Job."""
        return _job(await self._get(JOBS, namespace, name))

    async def jobs(self, namespace: str) -> tuple[Job, ...]:
        """List the namespace's Jobs."""
        return tuple(_job(each) for each in await self._list(JOBS, namespace))

    async def create_job(self, manifest: Mapping[str, JsonValue], *, dry_run: bool = False) -> None:
        """Create a Job."""
        await self._create(JOBS, manifest, dry_run=dry_run)


def _job(item: Json) -> Job:
    status: Json = item.get("status") or {}
    state, reason, ended_at = _end(status)
    return Job(
        meta=shapes.object_meta(JOBS, item),
        suspended=bool(item["spec"].get("suspend", False)),
        state=state,
        reason=reason,
        succeeded=status.get("succeeded", 0),
        failed=status.get("failed", 0),
        started_at=_time(status.get("startTime")),
        ended_at=ended_at,
        owner_uids=tuple(owner["uid"] for owner in item["metadata"].get("ownerReferences") or ()),
    )


def _end(status: Json) -> tuple[Literal["going", "complete", "failed"], str, datetime | None]:
    conditions: Sequence[Json] = status.get("conditions") or ()
    for condition in conditions:
        if condition.get("status") != "True":
            continue
        at = _time(condition.get("lastTransitionTime"))
        if condition["type"] == "Complete":
            return "complete", "", _time(status.get("completionTime")) or at
        if condition["type"] == "Failed":
            return "failed", f"{condition.get('reason', '')}: {condition.get('message', '')}"[:300], at
    return "going", "", None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
