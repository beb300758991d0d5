"""Actions and checks on Kubernetes workloads, one module a family; the registry takes the two tuples below."""

from hdr_responder.actions.kubernetes.logs import Logs
from hdr_responder.actions.kubernetes.quarantine import Quarantine
from hdr_responder.actions.kubernetes.quarantined import Quarantined
from hdr_responder.actions.kubernetes.replicas import Available, Replicas
from hdr_responder.actions.kubernetes.rollouts import Rollout, RolloutRestart, WaitRollout
from hdr_responder.actions.kubernetes.scaling import ScaleOut, ScaleToZero

KUBERNETES_ACTIONS = (Logs(), RolloutRestart(), WaitRollout(), ScaleOut(), ScaleToZero(), Quarantine())
KUBERNETES_CHECKS = (Rollout(), Replicas(), Available(), Quarantined())

__all__ = ["KUBERNETES_ACTIONS", "KUBERNETES_CHECKS"]
