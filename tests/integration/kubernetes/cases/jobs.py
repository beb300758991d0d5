"""Jobs that CronJobs describe."""

from __future__ import annotations

from hdr_responder.actions.kubernetes.jobs import JobStatus, JobStatusParameters, RunJob, RunJobParameters
from tests.integration.kubernetes.case import Case
from tests.integration.kubernetes.steps import CLUSTER
from tests.services.kubernetes import ControlPlane


def backup(control_plane: ControlPlane, namespace: str, *, tag: str = "1.0", policy: str = "Forbid") -> None:
    """The suspended CronJob ``backup``; the image's tag may name a behaviour of its pods."""
    container = {"name": "backup", "image": f"registry.example/backup:{tag}"}
    template = {
        "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    }
    control_plane.api.request(
        "POST",
        f"/apis/batch/v1/namespaces/{namespace}/cronjobs",
        {
            "metadata": {"name": "backup"},
            "spec": {
                "schedule": "0 3 * * *",
                "suspend": True,
                "concurrencyPolicy": policy,
                "jobTemplate": template | {"metadata": {"labels": {"kind": "backup"}}},
            },
        },
    )


def _done(control_plane: ControlPlane, namespace: str) -> None:
    """A Job that is complete and has logged something."""
    control_plane.set_logs(["backed up"])
    container = {"name": "backup", "image": "registry.example/backup:1.0"}
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    control_plane.api.request(
        "POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", {"metadata": {"name": "done"}, "spec": spec}
    )


CASES = {
    "run_job": Case(
        action=RunJob(),
        params=lambda ns: RunJobParameters(cluster=CLUSTER, namespace=ns, cron_job="backup"),
        arrange=backup,
    ),
    "job_status": Case(
        action=JobStatus(),
        params=lambda ns: JobStatusParameters(cluster=CLUSTER, namespace=ns, job="done"),
        arrange=_done,
    ),
}
