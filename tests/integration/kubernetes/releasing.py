"""A workload as its own people change it: releases, restarts, and what the cluster keeps of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hdr_responder.actions.kubernetes.history import LastRelease, LastReleaseParameters
from hdr_responder.actions.kubernetes.marks import RESTARTED_AT
from hdr_responder.actions.kubernetes.ownership import WhoChanged, WhoChangedParameters
from hdr_responder.actions.kubernetes.rollback import RolloutUndo, RolloutUndoParameters
from hdr_responder.domain.workloads import Workload, WorkloadKind
from tests.fakes.clock import ManualClock
from tests.integration.kubernetes.steps import grant, workload
from tests.integration.kubernetes.test_actions import pod_set
from tests.services.kubernetes import ControlPlane
from tests.services.processes import poll

IMAGE = "registry.example/app"
ALL_KINDS: tuple[WorkloadKind, ...] = ("deployment", "statefulset", "daemonset")


def allow(control_plane: ControlPlane, namespace: str, kind: WorkloadKind = "deployment") -> Workload:
    """Grant what the actions on releases declare, together; the workload."""
    target = workload(namespace, kind=kind)
    permissions = [
        *RolloutUndo().permissions(RolloutUndoParameters(workload=target)),
        *LastRelease().permissions(LastReleaseParameters(workload=target)),
        *WhoChanged().permissions(WhoChangedParameters(workload=target)),
    ]
    grant(control_plane, permissions)
    return target


def later(length: timedelta) -> ManualClock:
    """A clock that is this much ahead of the cluster's."""
    return ManualClock(datetime.now(UTC) + length)


class Fleet:
    """One workload as its own people change it."""

    def __init__(self, control_plane: ControlPlane, target: Workload) -> None:
        self._api = control_plane.api
        self._target = target
        self.path = f"/apis/apps/v1/namespaces/{target.namespace}/{target.kind}s/{target.name}"

    def create(self) -> None:
        if self._target.kind == "deployment":
            self._api.create_deployment(self._target.namespace, self._target.name)
            return
        collection = self.path.rpartition("/")[0]
        self._api.request("POST", collection, pod_set(self._target.kind))
        self.settle()

    def release(self, tag: str, **annotations: str) -> None:
        """Roll out another image."""
        body = {
            "metadata": {"annotations": annotations},
            "spec": {"template": {"spec": {"containers": [{"name": "app", "image": f"{IMAGE}:{tag}"}]}}},
        }
        self._api.request("PATCH", self.path, body, content_type="application/strategic-merge-patch+json")
        self.settle()

    def restart(self, at: str) -> None:
        """Restart as kubectl does it."""
        body = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: at}}}}}
        self._api.merge_patch(self.path, body)
        self.settle()

    def patch(self, body: object) -> None:
        self._api.merge_patch(self.path, body)

    def read(self) -> dict[str, Any]:
        return self._api.request("GET", self.path)

    @property
    def template(self) -> dict[str, Any]:
        found: dict[str, Any] = self.read()["spec"]["template"]
        return found

    @property
    def image(self) -> str:
        return str(self.template["spec"]["containers"][0]["image"]).rpartition(":")[2]

    def settle(self) -> None:
        """Wait until the controller has seen the change and made a revision of it."""
        assert poll(self._settled, seconds=30)

    def _settled(self) -> bool:
        seen = self.read()
        if seen.get("status", {}).get("observedGeneration", 0) < seen["metadata"]["generation"]:
            return False
        return any(kept == seen["spec"]["template"] for kept in self.revisions().values())

    def revisions(self) -> dict[int, dict[str, Any]]:
        """The kept templates by their numbers."""
        base = f"/apis/apps/v1/namespaces/{self._target.namespace}"
        found: dict[int, dict[str, Any]] = {}
        if self._target.kind == "deployment":
            for item in self._api.request("GET", f"{base}/replicasets")["items"]:
                template = item["spec"]["template"]
                del template["metadata"]["labels"]["pod-template-hash"]
                found[int(item["metadata"]["annotations"].get("deployment.kubernetes.io/revision", 0))] = template
        else:
            for item in self._api.request("GET", f"{base}/controllerrevisions")["items"]:
                template = item["data"]["spec"]["template"]
                del template["$patch"]
                found[item["revision"]] = template
        return found
