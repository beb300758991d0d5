"""Actions and checks on Kubernetes workloads, one module a family; the registry takes the two tuples below."""

from hdr_responder.actions.kubernetes.autoscaling import Autoscale
from hdr_responder.actions.kubernetes.describe import Describe
from hdr_responder.actions.kubernetes.environment import SetEnv
from hdr_responder.actions.kubernetes.exec import Exec
from hdr_responder.actions.kubernetes.history import LastRelease, RolloutHistory
from hdr_responder.actions.kubernetes.isolated import Isolated, Released
from hdr_responder.actions.kubernetes.isolation import Isolate
from hdr_responder.actions.kubernetes.jobs import JobStatus, RunJob
from hdr_responder.actions.kubernetes.logs import Logs
from hdr_responder.actions.kubernetes.ownership import WhoChanged
from hdr_responder.actions.kubernetes.pod_removal import DeletePod, EvictPod
from hdr_responder.actions.kubernetes.pods import Pods
from hdr_responder.actions.kubernetes.release import Release
from hdr_responder.actions.kubernetes.replicas import Available, Replicas
from hdr_responder.actions.kubernetes.resources import SetResources
from hdr_responder.actions.kubernetes.rollback import RolloutUndo
from hdr_responder.actions.kubernetes.rollouts import Rollout, RolloutRestart, RolloutStatus
from hdr_responder.actions.kubernetes.scaling import Scale, ScaleToZero
from hdr_responder.actions.kubernetes.top import Top

KUBERNETES_ACTIONS = (
    Logs(),
    Pods(),
    Describe(),
    Top(),
    Exec(),
    RolloutRestart(),
    RolloutStatus(),
    Scale(),
    ScaleToZero(),
    Autoscale(),
    Isolate(),
    Release(),
    DeletePod(),
    EvictPod(),
    RunJob(),
    JobStatus(),
    RolloutHistory(),
    LastRelease(),
    WhoChanged(),
    RolloutUndo(),
    SetEnv(),
    SetResources(),
)
KUBERNETES_CHECKS = (Rollout(), Replicas(), Available(), Isolated(), Released())

__all__ = ["KUBERNETES_ACTIONS", "KUBERNETES_CHECKS"]
