"""What is read of pods: how they are, what they say and use."""

from __future__ import annotations

from hdr_responder.actions.kubernetes.describe import Describe, DescribeParameters
from hdr_responder.actions.kubernetes.exec import Exec, ExecParameters
from hdr_responder.actions.kubernetes.logs import Logs, LogsParameters
from hdr_responder.actions.kubernetes.pods import Pods, PodsParameters
from hdr_responder.actions.kubernetes.top import Top, TopParameters
from tests.integration.kubernetes.case import Case, one_deployment
from tests.integration.kubernetes.steps import CLUSTER, workload
from tests.services.kubernetes import ControlPlane
from tests.services.kubernetes_metrics import MetricsServer


def _measured(control_plane: ControlPlane, namespace: str) -> None:
    MetricsServer.install(control_plane)
    one_deployment(control_plane, namespace)


CASES = {
    "pods": Case(action=Pods(), params=lambda ns: PodsParameters(workload=workload(ns))),
    "pods_of_namespace": Case(
        action=Pods(),
        params=lambda ns: PodsParameters(cluster=CLUSTER, namespace=ns, labels={"app": "neural-hdr"}),
        absent=True,
    ),
    "top": Case(action=Top(), params=lambda ns: TopParameters(workload=workload(ns)), arrange=_measured),
    "describe": Case(action=Describe(), params=lambda ns: DescribeParameters(workload=workload(ns))),
    "exec": Case(action=Exec(), params=lambda ns: ExecParameters(workload=workload(ns), command="disk_usage")),
    "logs_of_namespace": Case(
        action=Logs(), params=lambda ns: LogsParameters(cluster=CLUSTER, namespace=ns), absent=True
    ),
}
