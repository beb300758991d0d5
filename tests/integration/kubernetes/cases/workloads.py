"""Logs, restarts and rollouts."""

from __future__ import annotations

from hdr_responder.actions.kubernetes.logs import Logs, LogsParameters
from hdr_responder.actions.kubernetes.rollouts import (
    RestartParameters,
    RolloutRestart,
    RolloutStatus,
    RolloutStatusParameters,
)
from tests.integration.kubernetes.case import Case
from tests.integration.kubernetes.steps import workload

CASES = {
    "logs": Case(action=Logs(), params=lambda ns: LogsParameters(workload=workload(ns))),
    "restart": Case(action=RolloutRestart(), params=lambda ns: RestartParameters(workload=workload(ns))),
    "rollout_status": Case(action=RolloutStatus(), params=lambda ns: RolloutStatusParameters(workload=workload(ns))),
}
