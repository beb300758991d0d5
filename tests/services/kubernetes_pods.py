"""What the simulated kubelets do with pods: kwok's documents for the life, logs and commands of every pod.

A pod behaves as its annotation ``hdr-responder.test/behaviour`` says, else as the tag of its image says, else it
becomes ready at once. So an image tag makes a rollout that gets stuck, and annotating pods that run makes them fail
until something replaces them. The message of the Ready condition names the behaviour that a pod shows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEHAVIOUR_ANNOTATION = "hdr-responder.test/behaviour"

READY = "ready"
NEVER_READY = "never-ready"
CRASH = "crash"
OOM = "oom"
PULL_ERROR = "pull-error"
FAIL = "fail"
HANG = "hang"

_RUNNING = "running: {startedAt: {{ Now | Quote }}}"
_TERMINATED = "terminated: {reason: %s, exitCode: %d, startedAt: {{ Now | Quote }}, finishedAt: {{ Now | Quote }}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a pod looks once its kubelet did its work."""

    name: str
    phase: str
    state: str
    last_state: str = ""
    restarts: int = 0
    ready: bool = False


_BACK_OFF = "waiting: {reason: CrashLoopBackOff, message: back-off 40s restarting failed container}"

BEHAVIOURS = (
    Behaviour(name=READY, phase="Running", ready=True, state=_RUNNING),
    Behaviour(name=NEVER_READY, phase="Running", state=_RUNNING),
    Behaviour(name=CRASH, phase="Running", state=_BACK_OFF, last_state=_TERMINATED % ("Error", 1), restarts=5),
    Behaviour(name=OOM, phase="Running", state=_BACK_OFF, last_state=_TERMINATED % ("OOMKilled", 137), restarts=3),
    Behaviour(
        name=PULL_ERROR, phase="Pending", state="waiting: {reason: ImagePullBackOff, message: back-off pulling image}"
    ),
    Behaviour(name=FAIL, phase="Failed", state=_TERMINATED % ("Error", 1)),
)

_NAMES = ",".join(json.dumps(behaviour.name) for behaviour in BEHAVIOURS)
_ANNOTATED = f'.metadata.annotations["{BEHAVIOUR_ANNOTATION}"]'
_CHOSEN = f'{_ANNOTATED} // (.spec.containers[0].image | split(":") | last | select(IN({_NAMES}))) // "{READY}"'
_SHOWN = '.status.conditions[]? | select(.type == "Ready") | .message'
_OWNER = ".metadata.ownerReferences[]?.kind"

_STATUS = """
phase: %(phase)s
startTime: {{ or .status.startTime Now | Quote }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
{{ if not .status.podIP }}
podIP: {{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace | Quote }}
{{ end }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ Now | Quote }}}
- type: Ready
  status: "%(condition)s"
  reason: %(reason)s
  message: %(name)s
  lastTransitionTime: {{ Now | Quote }}
- type: ContainersReady
  status: "%(condition)s"
  reason: %(reason)s
  lastTransitionTime: {{ Now | Quote }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: %(ready)s
  started: %(ready)s
  restartCount: %(restarts)d
  state: {%(state)s}
  lastState: {%(last_state)s}
{{ end }}
"""


def kwok_config(*, logs: Path, previous_logs: Path, commands: Path) -> str:
    """kwok's configuration: the pods' life, the files that are their logs, the folder their commands run in."""
    documents = [
        *(_behaviour_stage(behaviour) for behaviour in BEHAVIOURS),
        _job_stage(),
        _delete_stage(),
        _document("ClusterLogs", "logs", {"logs": [{"logsFile": str(logs), "previousLogsFile": str(previous_logs)}]}),
        _document("ClusterExec", "exec", {"execs": [{"local": {"workDir": str(commands)}}]}),
    ]
    return "\n---\n".join(json.dumps(document) for document in documents)


def _behaviour_stage(behaviour: Behaviour) -> dict[str, Any]:
    status = _STATUS % {
        "phase": behaviour.phase,
        "name": behaviour.name,
        "condition": str(behaviour.ready),
        "reason": '""' if behaviour.ready else "ContainersNotReady",
        "ready": str(behaviour.ready).lower(),
        "restarts": behaviour.restarts,
        "state": behaviour.state,
        "last_state": behaviour.last_state,
    }
    return _pod_stage(
        f"pod-{behaviour.name}",
        [
            _not_deleted(),
            _expression(_CHOSEN, "In", behaviour.name),
            _expression(_SHOWN, "NotIn", behaviour.name),
            _expression(".status.phase", "NotIn", "Succeeded", "Failed"),
        ],
        {"statusTemplate": status},
    )


def _job_stage() -> dict[str, Any]:
    status = (
        "phase: Succeeded\n"
        "containerStatuses:\n"
        "{{ range .spec.containers }}\n"
        "- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, ready: false, restartCount: 0,"
        f" state: {{{_TERMINATED % ('Completed', 0)}}}}}\n"
        "{{ end }}\n"
    )
    return _pod_stage(
        "pod-of-a-job-succeeds",
        [
            _not_deleted(),
            _expression(_CHOSEN, "In", READY),
            _expression(_SHOWN, "In", READY),
            _expression(_OWNER, "In", "Job"),
            _expression(".status.phase", "In", "Running"),
        ],
        {"statusTemplate": status},
    )


def _delete_stage() -> dict[str, Any]:
    return _pod_stage(
        "pod-is-deleted",
        [_expression(".metadata.deletionTimestamp", "Exists"), _expression(_ANNOTATED, "NotIn", HANG)],
        {"finalizers": {"empty": True}, "delete": True},
    )


def _pod_stage(name: str, expressions: list[dict[str, Any]], following: dict[str, Any]) -> dict[str, Any]:
    return _document(
        "Stage",
        name,
        {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {"matchExpressions": expressions},
            "next": following,
        },
    )


def _not_deleted() -> dict[str, Any]:
    return _expression(".metadata.deletionTimestamp", "DoesNotExist")


def _expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def shown_behaviour(pod: Mapping[str, Any]) -> str | None:
    """The behaviour that a pod shows by now; None while its kubelet has not got to it."""
    conditions = pod.get("status", {}).get("conditions", [])
    return next((condition.get("message") for condition in conditions if condition["type"] == "Ready"), None)
