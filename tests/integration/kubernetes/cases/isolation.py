"""Cutting a workload off, and letting it back on."""

from __future__ import annotations

from hdr_responder.actions.kubernetes.isolation import Isolate, IsolateParameters
from tests.integration.kubernetes.case import Case
from tests.integration.kubernetes.steps import workload
from tests.services.kubernetes import ControlPlane


def _policy_opened(control_plane: ControlPlane, namespace: str) -> None:
    base = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
    (policy,) = control_plane.api.request("GET", base)["items"]
    control_plane.api.merge_patch(f"{base}/{policy['metadata']['name']}", {"spec": {"ingress": [{}]}})


CASES = {
    "isolate": Case(action=Isolate(), params=lambda ns: IsolateParameters(workload=workload(ns)), drift=_policy_opened),
}
