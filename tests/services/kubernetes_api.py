"""What tests ask of the Kubernetes API as its administrator, over plain HTTPS.

Written apart from the product's client library on purpose: a test then sees the cluster through other eyes.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tests.services.kubernetes_pods import BEHAVIOUR_ANNOTATION, shown_behaviour
from tests.services.processes import ServiceError, poll

_ANSWER_SECONDS = 15.0
WAIT_SECONDS = 30.0


class ApiError(ServiceError):
    """The API server refused a call; ``code`` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class KubernetesApi:
    """One user's access to one API server. Every wait raises ServiceError when its time is up."""

    def __init__(self, server: str, token: str, ca: str) -> None:
        self._server = server
        self._token = token
        self._context = ssl.create_default_context(cadata=ca)

    def request(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """Call the API; the decoded answer. Raises ApiError with the server's message."""
        request = urllib.request.Request(
            f"{self._server}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": content_type},
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS, context=self._context) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, error.read().decode(errors="replace")) from error
        return json.loads(answer) if answer.startswith(b"{") else {"text": answer.decode()}

    def merge_patch(self, path: str, body: object) -> dict[str, Any]:
        return self.request("PATCH", path, body, content_type="application/merge-patch+json")

    def create_namespace(self, name: str) -> None:
        """Create a namespace and wait until pods can be made in it."""
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        self._wait(
            lambda: self._exists(f"/api/v1/namespaces/{name}/serviceaccounts/default"),
            f"service account of namespace {name}",
        )

    def delete_namespace(self, name: str) -> None:
        """Ask for the end of a namespace; the controllers take it away in their own time."""
        self.request("DELETE", f"/api/v1/namespaces/{name}")

    def create_node(self, name: str, *, cpu: str = "64", memory: str = "256Gi", pods: str = "500") -> None:
        """Create a node of this capacity and wait until it is ready."""
        capacity = {"cpu": cpu, "memory": memory, "pods": pods}
        self.request(
            "POST",
            "/api/v1/nodes",
            {
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                "status": {"capacity": capacity, "allocatable": capacity},
            },
        )
        self._wait(lambda: self._schedulable(name), f"node {name}")

    def create_deployment(
        self,
        namespace: str,
        name: str,
        *,
        replicas: int = 1,
        image: str = "registry.example/app:1.0",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        progress_deadline_seconds: int = 600,
        wait: bool = True,
    ) -> dict[str, Any]:
        """Create a Deployment whose pods carry ``app=<name>``; with ``wait`` return when it is available."""
        pod_labels = {"app": name, **(labels or {})}
        created = self.request(
            "POST",
            f"/apis/apps/v1/namespaces/{namespace}/deployments",
            {
                "metadata": {"name": name, "labels": pod_labels, "annotations": dict(annotations or {})},
                "spec": {
                    "replicas": replicas,
                    "progressDeadlineSeconds": progress_deadline_seconds,
                    "selector": {"matchLabels": {"app": name}},
                    "template": {
                        "metadata": {"labels": pod_labels},
                        "spec": {"containers": [{"name": "app", "image": image}]},
                    },
                },
            },
        )
        return self.wait_available(namespace, name) if wait else created

    def deployment(self, namespace: str, name: str) -> dict[str, Any]:
        return self.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")

    def set_image(self, namespace: str, name: str, image: str) -> None:
        """Roll a Deployment to another image, as a release does; the tag may name a behaviour."""
        self.request(
            "PATCH",
            f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
            {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}},
            content_type="application/strategic-merge-patch+json",
        )

    def wait_available(self, namespace: str, name: str, *, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """Wait until the rollout of a Deployment is complete; the Deployment."""
        self._wait(lambda: _rolled_out(self.deployment(namespace, name)), f"deployment {name}", seconds)
        return self.deployment(namespace, name)

    def pods(self, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """The pods of a namespace that match a label selector such as ``app=neural-hdr``."""
        query = f"?labelSelector={quote(selector)}" if selector else ""
        items: list[dict[str, Any]] = self.request("GET", f"/api/v1/namespaces/{namespace}/pods{query}")["items"]
        return items

    def wait_pods(
        self,
        namespace: str,
        selector: str,
        condition: Callable[[Sequence[Mapping[str, Any]]], bool],
        *,
        seconds: float = WAIT_SECONDS,
    ) -> list[dict[str, Any]]:
        """Wait until ``condition`` holds of the matching pods; the pods."""
        self._wait(lambda: condition(self.pods(namespace, selector)), f"pods {selector}", seconds)
        return self.pods(namespace, selector)

    def make_pods(self, namespace: str, selector: str, behaviour: str) -> None:
        """Change how the pods that run now behave, and wait until it shows; pods that replace them are as before.

        ``behaviour`` is one of tests.services.kubernetes_pods.
        """
        for pod in self.pods(namespace, selector):
            self.merge_patch(
                f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}",
                {"metadata": {"annotations": {BEHAVIOUR_ANNOTATION: behaviour}}},
            )
        self.wait_pods(namespace, selector, lambda pods: all(shown_behaviour(pod) == behaviour for pod in pods))

    def create_user_token(self, namespace: str, name: str, rules: Sequence[Mapping[str, Any]]) -> str:
        """A ServiceAccount's token that may do what ``rules`` (a Role's) say inside the namespace, and no more."""
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.request("POST", account, {"metadata": {"name": name}})
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        self.grant(namespace, name, rules, subject)
        answer = self.request("POST", f"{account}/{name}/token", {"spec": {"expirationSeconds": 3600}})
        return str(answer["status"]["token"])

    def grant(self, namespace: str, role: str, rules: Sequence[Mapping[str, Any]], subject: Mapping[str, str]) -> None:
        """Create a Role and bind it to a subject, ``{"kind": "User", "name": "responder"}`` say."""
        base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        group = {} if subject["kind"] == "ServiceAccount" else {"apiGroup": "rbac.authorization.k8s.io"}
        self.request("POST", f"{base}/roles", {"metadata": {"name": role}, "rules": list(rules)})
        self.request(
            "POST",
            f"{base}/rolebindings",
            {
                "metadata": {"name": role},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
                "subjects": [{**group, **subject}],
            },
        )
        self._wait(lambda: self._allowed(namespace, rules[0], subject), f"role {role}")

    def _allowed(self, namespace: str, rule: Mapping[str, Any], subject: Mapping[str, str]) -> bool:
        kind, name = subject["kind"], subject["name"]
        resource, _, subresource = rule["resources"][0].partition("/")
        answer = self.request(
            "POST",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            {
                "spec": {
                    "user": f"system:serviceaccount:{namespace}:{name}" if kind == "ServiceAccount" else name,
                    "resourceAttributes": {
                        "namespace": namespace,
                        "verb": rule["verbs"][0],
                        "group": rule["apiGroups"][0],
                        "resource": resource,
                        "subresource": subresource,
                    },
                }
            },
        )
        return bool(answer["status"]["allowed"])

    def _exists(self, path: str) -> bool:
        try:
            self.request("GET", path)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return True

    def _schedulable(self, name: str) -> bool:
        node = self.request("GET", f"/api/v1/nodes/{name}")
        conditions = node.get("status", {}).get("conditions", [])
        ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
        return ready and not node["spec"].get("taints")

    @staticmethod
    def _wait(condition: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
        if not poll(condition, seconds=seconds):
            raise ServiceError(f"{what} was not as expected after {seconds:.0f} s")


def pod_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod's Ready condition is true."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _rolled_out(deployment: Mapping[str, Any]) -> bool:
    wanted = deployment["spec"]["replicas"]
    status = deployment.get("status", {})
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    observed = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    return observed and all(count == wanted for count in counts)
