"""Jobs: started once, waited for, and never two that must not overlap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from hdr_responder.actions.contract import Seen
from hdr_responder.actions.kubernetes.jobs import JobStatus, JobStatusParameters, RunJob, RunJobParameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.errors import ConflictError, FencedError, NotFoundError, PermanentError, TemporaryError
from tests.integration.kubernetes.cases.jobs import backup
from tests.integration.kubernetes.steps import CLUSTER, KeptEvidence, grant_for, perform, prepare, responder, step
from tests.services.kubernetes import ControlPlane

pytestmark = pytest.mark.service

RUN = RunJob()
STATUS = JobStatus()


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


@pytest.fixture
def params(control_plane: ControlPlane, namespace: str) -> RunJobParameters:
    wanted = RunJobParameters(cluster=CLUSTER, namespace=namespace, cron_job="backup")
    grant_for(control_plane, RUN, wanted)
    grant_for(control_plane, STATUS, JobStatusParameters(cluster=CLUSTER, namespace=namespace, job="any"))
    return wanted


def jobs(control_plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = control_plane.api.request("GET", f"/apis/batch/v1/namespaces/{namespace}/jobs")[
        "items"
    ]
    return items


async def test_it_runs_and_is_waited_for(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: RunJobParameters
) -> None:
    backup(control_plane, namespace)
    control_plane.set_logs(["dumping", "done"])
    evidence = KeptEvidence()
    ctx = step(cluster, evidence=evidence)
    _, started = await perform(RUN, ctx, params)
    wait = JobStatusParameters(cluster=CLUSTER, namespace=namespace, job=started.job, within=timedelta(seconds=30))
    ended = await STATUS.execute(ctx, wait)
    assert "is complete after" in ended.summary
    (artifact,) = ended.artifacts
    assert evidence.artifacts[artifact][1] == b"dumping\ndone\n"
    (job,) = jobs(control_plane, namespace)
    assert job["metadata"]["labels"]["kind"] == "backup"
    assert job["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual"
    assert job["metadata"]["ownerReferences"][0]["name"] == "backup"
    assert job["spec"]["ttlSecondsAfterFinished"] > 0


async def test_until_it_is_started_nothing_runs(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: RunJobParameters
) -> None:
    backup(control_plane, namespace)
    ctx = step(cluster)
    state = await prepare(RUN, ctx, params)
    assert [job["spec"]["suspend"] for job in jobs(control_plane, namespace)] == [True]
    assert control_plane.api.pods(namespace) == []
    assert (await RUN.observe(ctx, params, state)).seen is Seen.NO_EFFECT
    await RUN.claim(step(cluster, run_id=ctx.fence.run_id, token=2), params)
    with pytest.raises(FencedError):
        await RUN.execute(ctx, params, state)


async def test_two_of_a_cronjob_do_not_overlap_unless_it_says_so(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: RunJobParameters
) -> None:
    backup(control_plane, namespace, tag="never-ready")
    await perform(RUN, step(cluster), params)
    with pytest.raises(ConflictError, match="must not overlap"):
        await RUN.dry_run(step(cluster, step_id="another"), params)
    path = f"/apis/batch/v1/namespaces/{namespace}/cronjobs/backup"
    control_plane.api.merge_patch(path, {"spec": {"concurrencyPolicy": "Allow"}})
    await RUN.dry_run(step(cluster, step_id="another"), params)


async def test_one_that_started_since_the_rehearsal_is_not_overlapped(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: RunJobParameters
) -> None:
    backup(control_plane, namespace, tag="never-ready")
    ctx = step(cluster)
    state = await prepare(RUN, ctx, params)
    other = step(cluster)
    theirs = await prepare(RUN, other, params)
    await RUN.execute(other, params, theirs)
    with pytest.raises(ConflictError, match="must not overlap"):
        await RUN.execute(ctx, params, state)
    assert (await RUN.observe(ctx, params, state)).seen is Seen.NO_EFFECT
    assert (await RUN.execute(other, params, theirs)).job == theirs["job"]


async def test_it_stays_long_enough_to_be_seen(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: RunJobParameters
) -> None:
    backup(control_plane, namespace)
    path = f"/apis/batch/v1/namespaces/{namespace}/cronjobs/backup"
    control_plane.api.merge_patch(path, {"spec": {"jobTemplate": {"spec": {"ttlSecondsAfterFinished": 0}}}})
    ctx = step(cluster)
    _, started = await perform(RUN, ctx, params)
    wait = JobStatusParameters(cluster=CLUSTER, namespace=namespace, job=started.job, within=timedelta(seconds=30))
    assert "is complete after" in (await STATUS.execute(ctx, wait)).summary


async def test_a_job_that_fails_fails_the_step_and_leaves_its_logs(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: RunJobParameters
) -> None:
    backup(control_plane, namespace, tag="fail")
    control_plane.set_logs(["disk full"])
    evidence = KeptEvidence()
    ctx = step(cluster, evidence=evidence)
    _, started = await perform(RUN, ctx, params)
    wait = JobStatusParameters(cluster=CLUSTER, namespace=namespace, job=started.job, within=timedelta(seconds=30))
    with pytest.raises(PermanentError, match="BackoffLimitExceeded"):
        await STATUS.execute(ctx, wait)
    assert [content for _, content in evidence.artifacts.values()] == [b"disk full\n"]


async def test_a_job_that_does_not_end_in_time(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: RunJobParameters
) -> None:
    backup(control_plane, namespace, tag="never-ready")
    ctx = step(cluster)
    _, started = await perform(RUN, ctx, params)
    wait = JobStatusParameters(cluster=CLUSTER, namespace=namespace, job=started.job, within=timedelta(seconds=0.2))
    with pytest.raises(TemporaryError, match="has not ended within"):
        await STATUS.execute(ctx, wait)


async def test_an_unknown_cronjob_is_named(
    namespace: str, cluster: KubernetesAdapter, params: RunJobParameters
) -> None:
    with pytest.raises(NotFoundError, match="cronjobs backup"):
        await RUN.dry_run(step(cluster), params)


@pytest.mark.parametrize("name", ["../x", "a/b", "*", "", "x;y", "Upper", "a\n", "a" * 254])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        RunJobParameters(cluster=CLUSTER, namespace="any", cron_job=name)
    with pytest.raises(ValidationError):
        RunJobParameters(cluster=CLUSTER, namespace=name, cron_job="backup")
    with pytest.raises(ValidationError):
        JobStatusParameters(cluster=CLUSTER, namespace="any", job=name)
