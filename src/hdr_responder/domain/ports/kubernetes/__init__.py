"""What the responder asks of a Kubernetes cluster, in its own words, so that actions never see an API client.

The port offers mechanisms (read, patch with preconditions, create, delete); what they mean (fences, steps, undo) is the
actions' business. Every method raises UnavailableError when the cluster cannot be reached in time, ForbiddenError when
it refuses the right (naming verb and resource), NotFoundError for what does not exist, and TemporaryError when the
server asks to come back later. Methods that change something raise `AmbiguousError` when the request was sent and its
answer lost.
"""

from typing import Protocol

from hdr_responder.domain.ports.kubernetes.access import AccessCalls, ClusterIdentity, HeldRule, HeldRules, Right
from hdr_responder.domain.ports.kubernetes.changes import ChangeCalls, Note
from hdr_responder.domain.ports.kubernetes.descriptions import DescribedWorkload, DescriptionCalls
from hdr_responder.domain.ports.kubernetes.exec import CommandOutput, ContainerCommand, ExecCalls
from hdr_responder.domain.ports.kubernetes.jobs import CronJob, Job, JobCalls
from hdr_responder.domain.ports.kubernetes.metrics import MetricsCalls, PodUsage
from hdr_responder.domain.ports.kubernetes.network_policies import NetworkPolicy, NetworkPolicyCalls
from hdr_responder.domain.ports.kubernetes.objects import (
    MANAGER,
    Condition,
    JsonPatch,
    ObjectMeta,
    ObjectRef,
    Requirement,
    Selector,
)
from hdr_responder.domain.ports.kubernetes.pods import ContainerState, Ended, Log, LogQuery, Pod, PodCalls, PodState
from hdr_responder.domain.ports.kubernetes.releases import (
    ContainerTemplate,
    EnvVariable,
    FieldWriter,
    ObjectEvent,
    PodTemplate,
    ReleaseCalls,
    Revision,
    TemplatedWorkload,
)
from hdr_responder.domain.ports.kubernetes.removals import OwnedPod, RemovalCalls
from hdr_responder.domain.ports.kubernetes.services import Endpoint, Service, ServiceCalls
from hdr_responder.domain.ports.kubernetes.workloads import Autoscaler, CpuRequests, WorkloadCalls, WorkloadState


class KubernetesCluster(
    AccessCalls,
    WorkloadCalls,
    PodCalls,
    MetricsCalls,
    ExecCalls,
    DescriptionCalls,
    NetworkPolicyCalls,
    ServiceCalls,
    ReleaseCalls,
    ChangeCalls,
    RemovalCalls,
    JobCalls,
    Protocol,
):
    """One Kubernetes cluster: all families of calls."""

    @property
    def name(self) -> str:
        """The cluster's name in settings, used in every error."""


__all__ = [
    "MANAGER",
    "Autoscaler",
    "ClusterIdentity",
    "CommandOutput",
    "Condition",
    "ContainerCommand",
    "ContainerState",
    "ContainerTemplate",
    "CpuRequests",
    "CronJob",
    "DescribedWorkload",
    "Ended",
    "Endpoint",
    "EnvVariable",
    "FieldWriter",
    "HeldRule",
    "HeldRules",
    "Job",
    "JsonPatch",
    "KubernetesCluster",
    "Log",
    "LogQuery",
    "NetworkPolicy",
    "Note",
    "ObjectEvent",
    "ObjectMeta",
    "ObjectRef",
    "OwnedPod",
    "Pod",
    "PodState",
    "PodTemplate",
    "PodUsage",
    "Requirement",
    "Revision",
    "Right",
    "Selector",
    "Service",
    "TemplatedWorkload",
    "WorkloadState",
]
