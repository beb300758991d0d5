"""Runs a Job that a CronJob describes, now: a backup, a rotation, a renewal (manual C9, C12, C13, D6).

`claim` creates the Job suspended, under a name that the step alone has, so that the start itself is a patch under the
fence and a repeated step cannot run it twice. Starting and waiting are two actions, as for restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from datetime import timedelta

from pydantic import Field, JsonValue

from hdr_responder.actions.contract import (
    Mutation,
    Observed,
    Parameters,
    Permission,
    Read,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
)
from hdr_responder.actions.kubernetes.fencing import change, claim, require_fence
from hdr_responder.actions.kubernetes.marks import (
    FENCE,
    HOLD,
    METADATA_ANNOTATIONS,
    STEP,
    annotate,
    parse_hold,
    replace,
    test,
)
from hdr_responder.actions.kubernetes.rights import ObjectName, namespace_rights
from hdr_responder.actions.kubernetes.story import tell
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.kubernetes import CronJob, Job, JsonPatch, KubernetesCluster, LogQuery, Selector
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import GitOpsOwner, TargetSurvey
from hdr_responder.errors import AmbiguousError, ConflictError, NotFoundError, PermanentError, TemporaryError

CRON_JOBS = "batch/cronjobs"
JOBS = "batch/jobs"
JOB_NAME = "batch.kubernetes.io/job-name"
KEPT_SECONDS = 7 * 24 * 3600
"""How long a finished Job is kept where its template does not say."""
SEEN_SECONDS = 3600
"""How long it is kept at least: one that goes as soon as it has ended could not be told from one that never ran."""
POLL_SECONDS = 1.0
LOGGED_PODS = 5
MAX_LOG_BYTES = 256 * 1024


class RunJobParameters(Parameters):
    """Which CronJob's job to run."""

    cluster: str = Field(min_length=1, description="A name under `targets.kubernetes`.")
    namespace: ObjectName
    cron_job: ObjectName = Field(description="The CronJob that describes the job; it may be suspended.")


class RunJobResult(Result):
    """What was started."""

    job: str = Field(description="Name of the Job, for `kubernetes.job_status`.")
    summary: str


class RunJob(Mutation[RunJobParameters, RunJobResult]):
    """Starts a Job once."""

    name = "kubernetes.run_job"
    summary = "Start the job of a CronJob now, once."
    example = """\
id: backup
action: kubernetes.run_job
with:
  cluster: prod-eu
  namespace: hdr-empire
  cron_job: postgres-backup
undo: none
"""
    parameters = RunJobParameters
    result = RunJobResult
    undoable = Undo.NONE
    holds_fence = True
    destructive = False
    effect_group = "jobs"

    def permissions(self, params: RunJobParameters) -> tuple[Permission, ...]:
        """Return the rights to read the CronJob, and to create and start Jobs."""
        where = (params.cluster, params.namespace)
        return (
            *namespace_rights(*where, CRON_JOBS, "get"),
            *namespace_rights(*where, JOBS, "get", "list", "create", "patch"),
            *namespace_rights(*where, "events", "create"),
        )

    def target(self, params: RunJobParameters) -> Target:
        """Return the CronJob: its jobs may not be meant to overlap."""
        return Target(
            key=f"kubernetes:{params.cluster}/{params.namespace}/cronjob/{params.cron_job}",
            effect_group=self.effect_group,
            title=f"cronjob/{params.cron_job} in {params.namespace} ({params.cluster})",
        )

    async def survey(self, systems: Systems, params: RunJobParameters) -> TargetSurvey:
        """Look at the CronJob; a GitOps controller does not mind a Job that it does not track."""
        meta = (await systems.cluster(params.cluster).cron_job(params.namespace, params.cron_job)).meta
        note = meta.annotations.get(HOLD)
        return TargetSurvey(
            owner=GitOpsOwner(name=meta.gitops, reverts=False) if meta.gitops else None,
            hold=parse_hold(note) if note is not None else None,
        )

    async def dry_run(self, ctx: StepContext, params: RunJobParameters) -> None:
        """Rehearse the Job; refuses while another of the CronJob runs, unless the CronJob lets them overlap."""
        cluster = ctx.systems.cluster(params.cluster)
        cron_job = await cluster.cron_job(params.namespace, params.cron_job)
        await refuse_overlap(cluster, cron_job)
        with contextlib.suppress(ConflictError):  # an earlier attempt of this step has created it already
            await cluster.create_job(manifest(ctx, cron_job), dry_run=True)

    async def claim(self, ctx: StepContext, params: RunJobParameters) -> None:
        """Create the Job suspended under our fence, or raise the fence on it when it is there."""
        cluster = ctx.systems.cluster(params.cluster)

        async def look() -> Job:
            name = job_name(ctx, params.cron_job)
            try:
                return await cluster.job(params.namespace, name)
            except NotFoundError:
                cron_job = await cluster.cron_job(params.namespace, params.cron_job)
                # Another attempt of this step may have created it meanwhile, which the next look shows.
                with contextlib.suppress(ConflictError, AmbiguousError):
                    await cluster.create_job(manifest(ctx, cron_job))
                return await cluster.job(params.namespace, name)

        await claim(cluster, ctx.fence, look)

    async def capture(self, ctx: StepContext, params: RunJobParameters) -> State:
        """Remember which object the Job is."""
        job = await ctx.systems.cluster(params.cluster).job(params.namespace, job_name(ctx, params.cron_job))
        require_fence(job.meta, ctx.fence, job.meta.uid)
        return {"job": job.meta.ref.name, "uid": job.meta.uid}

    async def execute(self, ctx: StepContext, params: RunJobParameters, state: State) -> RunJobResult:
        """Let the Job start; raises ConflictError when another started since that it must not overlap with."""
        cluster, name = ctx.systems.cluster(params.cluster), str(state["job"])
        if (await cluster.job(params.namespace, name)).meta.annotations.get(STEP) != ctx.step_key:
            await refuse_overlap(cluster, await cluster.cron_job(params.namespace, params.cron_job))

        def patch(seen: Job) -> JsonPatch | None:
            if seen.meta.annotations.get(STEP) == ctx.step_key:
                return None
            mark = annotate(METADATA_ANNOTATIONS, seen.meta.annotations, {STEP: ctx.step_key})
            return [test("/spec/suspend", True), replace("/spec/suspend", False), *mark]

        await change(cluster, ctx.fence, str(state["uid"]), lambda: cluster.job(params.namespace, name), patch)
        return _started(params, name)

    async def observe(self, ctx: StepContext, params: RunJobParameters, state: State) -> Observed[RunJobResult]:
        """Look for this step's key on the Job."""
        name = str(state["job"])
        try:
            seen = await ctx.systems.cluster(params.cluster).job(params.namespace, name)
        except NotFoundError:
            return Observed(seen=Seen.UNKNOWN, detail=f"job {name} was deleted since")
        if seen.meta.uid != state["uid"]:
            return Observed(seen=Seen.UNKNOWN, detail=f"{seen.meta.ref} was deleted and created anew")
        if seen.meta.annotations.get(STEP) == ctx.step_key:
            return Observed(seen=Seen.TOOK_EFFECT, result=_started(params, name), detail="the job carries this step")
        if seen.suspended:
            return Observed(seen=Seen.NO_EFFECT, detail="the job is still suspended")
        return Observed(seen=Seen.UNKNOWN, detail=f"somebody else started {seen.meta.ref}")

    async def announce(self, ctx: StepContext, params: RunJobParameters, state: State, *, undone: bool) -> None:
        """Write an Event on the CronJob."""
        del undone
        seen = await ctx.systems.cluster(params.cluster).cron_job(params.namespace, params.cron_job)
        await tell(ctx, params.cluster, seen.meta, reason="JobStarted", done=f"started job {state['job']} of this")


class JobStatusParameters(Parameters):
    """Which Job to wait for."""

    cluster: str = Field(min_length=1, description="A name under `targets.kubernetes`.")
    namespace: ObjectName
    job: ObjectName = Field(description="Name of the Job, such as `${steps.backup.job}`.")
    within: Duration = Field(default=timedelta(minutes=30), gt=timedelta(0), le=timedelta(hours=6))
    tail: int = Field(default=200, ge=1, le=5_000, description="Last log lines kept of each container.")


class JobStatusResult(Result):
    """How the Job ended."""

    seconds: float = Field(description="How long it ran.")
    artifacts: list[str] = Field(description="Artifact ids of its logs.")
    summary: str


class JobStatus(Read[JobStatusParameters, JobStatusResult]):
    """Waits for a Job and keeps what it said."""

    name = "kubernetes.job_status"
    summary = "Wait until a job is complete, and keep its logs with the incident."
    example = """\
id: finished
action: kubernetes.job_status
with:
  cluster: prod-eu
  namespace: hdr-empire
  job: postgres-backup-hdr-1a2b3c4d5e6f
  within: 1h
"""
    parameters = JobStatusParameters
    result = JobStatusResult
    default_timeout_seconds = 6 * 3600 + 100.0

    def permissions(self, params: JobStatusParameters) -> tuple[Permission, ...]:
        """Return the rights to read the Job, its pods and their logs."""
        where = (params.cluster, params.namespace)
        return (
            *namespace_rights(*where, JOBS, "get"),
            *namespace_rights(*where, "pods", "list"),
            *namespace_rights(*where, "pods/log", "get"),
        )

    async def execute(self, ctx: StepContext, params: JobStatusParameters) -> JobStatusResult:
        """Poll until it has ended.

        Raises PermanentError when it failed, TemporaryError when it has not ended ``within`` the time.
        """
        cluster = ctx.systems.cluster(params.cluster)
        try:
            async with asyncio.timeout(params.within.total_seconds()):
                ended = await _ended(cluster, params)
        except TimeoutError as e:
            within = f"{params.within.total_seconds():g} s"
            raise TemporaryError(f"job {params.job} in {params.namespace} has not ended within {within}") from e
        artifacts = await _keep_logs(ctx, cluster, params)
        seconds = (ended.ended_at - ended.started_at).total_seconds() if ended.ended_at and ended.started_at else 0.0
        if ended.state == "failed":
            kept = f"; logs: {', '.join(artifacts)}" if artifacts else ""
            raise PermanentError(f"job {params.job} in {params.namespace} failed: {ended.reason}{kept}")
        summary = f"job {params.job} is complete after {seconds:g} s"
        return JobStatusResult(seconds=seconds, artifacts=artifacts, summary=summary)


def job_name(ctx: StepContext, cron_job: str) -> str:
    """Return the Job's name: the same for every attempt of this step, another for every other step."""
    digest = hashlib.sha256(ctx.step_key.encode()).hexdigest()[:12]
    return f"{cron_job[:40].rstrip('-.')}-hdr-{digest}"


def manifest(ctx: StepContext, cron_job: CronJob) -> dict[str, JsonValue]:
    """Return the Job as it is created: as ``kubectl create job --from`` does, but suspended and fenced."""
    metadata, spec = cron_job.template.get("metadata"), cron_job.template["spec"]
    written = metadata if isinstance(metadata, dict) else {}
    labels, annotations = written.get("labels"), written.get("annotations")
    assert isinstance(spec, dict)
    ref = cron_job.meta.ref
    kept = spec.get("ttlSecondsAfterFinished")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(ctx, ref.name),
            "namespace": ref.namespace,
            "labels": labels if isinstance(labels, dict) else {},
            "annotations": {
                **(annotations if isinstance(annotations, dict) else {}),
                "cronjob.kubernetes.io/instantiate": "manual",
                "hdr-responder.io/incident": ctx.incident_ref,
                FENCE: str(ctx.fence),
            },
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "CronJob", "name": ref.name, "uid": cron_job.meta.uid}
            ],
        },
        "spec": {
            **spec,
            "ttlSecondsAfterFinished": max(kept, SEEN_SECONDS) if isinstance(kept, int) else KEPT_SECONDS,
            "suspend": True,
        },
    }


async def refuse_overlap(cluster: KubernetesCluster, cron_job: CronJob) -> None:
    """Raise ConflictError while a job of the CronJob runs, unless the CronJob lets them overlap."""
    if cron_job.overlaps:
        return
    going = [job for job in await cluster.jobs(cron_job.meta.ref.namespace) if _is_in_the_way(job, cron_job)]
    if going:
        raise ConflictError(
            f"{cron_job.meta.ref}: job {going[0].meta.ref.name} is under way, and they must not overlap"
        )


def _is_in_the_way(job: Job, cron_job: CronJob) -> bool:
    return cron_job.meta.uid in job.owner_uids and job.state == "going" and not job.suspended


async def _ended(cluster: KubernetesCluster, params: JobStatusParameters) -> Job:
    while True:
        # A restarting API server is no reason to give the job up.
        with contextlib.suppress(TemporaryError):
            seen = await cluster.job(params.namespace, params.job)
            if seen.state != "going":
                return seen
        await asyncio.sleep(POLL_SECONDS)


async def _keep_logs(ctx: StepContext, cluster: KubernetesCluster, params: JobStatusParameters) -> list[str]:
    """Keep the ends of the logs of the Job's pods; a container without a log has nothing to keep."""
    kept = []
    for pod in await cluster.pods(params.namespace, Selector(labels={JOB_NAME: params.job}), limit=LOGGED_PODS):
        for container in pod.containers:
            query = LogQuery(
                namespace=params.namespace,
                pod=pod.name,
                container=container,
                tail=params.tail,
                max_bytes=MAX_LOG_BYTES,
            )
            with contextlib.suppress(ConflictError, NotFoundError):
                log = (await cluster.pod_log(query)).content
                if log:
                    kept.append(await ctx.evidence.keep(f"{pod.name}.{container}.log", "text/plain", log))
    return kept


def _started(params: RunJobParameters, name: str) -> RunJobResult:
    return RunJobResult(job=name, summary=f"started job {name} of {params.cron_job} in {params.namespace}")
