"""How requests are addressed, objects read and refusals understood, without a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from hdr_responder.adapters.kubernetes.failures import failure
from hdr_responder.adapters.kubernetes.reach import ABOUT_OURSELVES, require_reachable
from hdr_responder.adapters.kubernetes.requests import ApiRequest, Resource
from hdr_responder.adapters.kubernetes.shapes import gitops_owner, network_policy, scales, selector_text, workload_state
from hdr_responder.domain.ports.kubernetes import ObjectMeta, ObjectRef, Requirement, Selector
from hdr_responder.errors import (
    AmbiguousError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PermanentError,
    TemporaryError,
)

GET = ApiRequest(verb="get", resource="apps/deployments", namespace="video", name="neural-hdr")
PATCH = ApiRequest(verb="patch", resource="apps/deployments", namespace="video", name="neural-hdr")
REHEARSAL = ApiRequest(verb="patch", resource="apps/deployments", namespace="video", name="neural-hdr", dry_run=True)


def body(message: str = "no", **details: Any) -> bytes:
    return json.dumps({"kind": "Status", "message": message, "details": details}).encode()


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (GET, "/apis/apps/v1/namespaces/video/deployments/neural-hdr"),
        (
            ApiRequest(verb="get", resource="pods/log", namespace="video", name="p-1"),
            "/api/v1/namespaces/video/pods/p-1/log",
        ),
        (ApiRequest(verb="list", resource="pods", namespace="video"), "/api/v1/namespaces/video/pods"),
        (ApiRequest(verb="get", resource="version"), "/version"),
        (
            ApiRequest(verb="get", resource="pods", namespace="a/../b", name="x?y"),
            "/api/v1/namespaces/a%2F..%2Fb/pods/x%3Fy",
        ),
    ],
)
def test_addresses(request_: ApiRequest, path: str) -> None:
    assert request_.path == path


@pytest.mark.parametrize(
    ("text", "group", "plural", "subresource"),
    [
        ("pods", "", "pods", ""),
        ("pods/log", "", "pods", "log"),
        ("apps/deployments", "apps", "deployments", ""),
        ("apps/deployments/scale", "apps", "deployments", "scale"),
        ("networking.k8s.io/networkpolicies", "networking.k8s.io", "networkpolicies", ""),
        ("policy/poddisruptionbudgets", "policy", "poddisruptionbudgets", ""),
    ],
)
def test_resource_names(text: str, group: str, plural: str, subresource: str) -> None:
    assert Resource.parse(text) == Resource(group=group, plural=plural, subresource=subresource)


@pytest.mark.parametrize(
    ("request_", "status", "answer", "kind", "text"),
    [
        (GET, 401, body(), ForbiddenError, "the credentials are not accepted"),
        (PATCH, 403, body("rbac"), ForbiddenError, "not allowed to patch apps/deployments neural-hdr in video: rbac"),
        (GET, 404, body(), NotFoundError, "not found"),
        (PATCH, 409, body(), ConflictError, "conflict"),
        (PATCH, 422, body(), ConflictError, "not as the patch assumes"),
        (PATCH, 422, body("wrong", causes=[{"field": "spec"}]), PermanentError, "refused with 422: wrong"),
        (PATCH, 422, body('admission webhook "x" denied the request'), PermanentError, "denied the request"),
        (PATCH, 429, body(), TemporaryError, "asks to wait"),
        (GET, 503, b"<html>", TemporaryError, "answered 503"),
        (REHEARSAL, 500, body(), TemporaryError, "answered 500"),
        (PATCH, 500, body(), AmbiguousError, "the change may have happened"),
        (PATCH, 504, b"", AmbiguousError, "the change may have happened"),
        (PATCH, 413, b"[]", PermanentError, "refused with 413"),
        (GET, 302, b"", PermanentError, "refused with 302"),
    ],
)
def test_refusals(request_: ApiRequest, status: int, answer: bytes, kind: type[Exception], text: str) -> None:
    error = failure("eu-1", request_, status, {}, answer)
    assert type(error) is kind
    assert "cluster eu-1" in str(error)
    assert text in str(error)


@pytest.mark.parametrize(
    ("headers", "answer", "seconds"),
    [
        ({"Retry-After": "7"}, body(), 7.0),
        ({}, body(retryAfterSeconds=3), 3.0),
        ({"Retry-After": "soon"}, body(), None),
    ],
)
def test_a_wish_to_wait_is_passed_on(headers: dict[str, str], answer: bytes, seconds: float | None) -> None:
    error = failure("eu-1", PATCH, 429, headers, answer)
    assert isinstance(error, TemporaryError)
    assert error.retry_after == seconds


def test_a_long_message_is_cut() -> None:
    assert len(str(failure("eu-1", GET, 400, {}, body("x" * 5000)))) < 500


def test_selectors_are_written_as_the_query_takes_them() -> None:
    wanted = Selector(
        labels={"b": "2", "a": "1"},
        requirements=(
            Requirement(key="c", operator="NotIn", values=("x", "y")),
            Requirement(key="d", operator="Exists"),
            Requirement(key="e", operator="DoesNotExist"),
        ),
    )
    assert selector_text(wanted) == "a=1,b=2,c notin (x,y),d,!e"


def test_a_workload_that_no_controller_has_seen_yet() -> None:
    spec: dict[str, Any] = {"selector": {}, "template": {"metadata": {}}}
    metadata = {"name": "x", "namespace": "video", "uid": "u", "resourceVersion": "1", "generation": 1}
    seen = workload_state("deployment", {"metadata": metadata, "spec": spec})
    assert (seen.replicas, seen.desired, seen.available, seen.observed_generation) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("spec", "ingress", "egress", "allows"),
    [
        ({"podSelector": {}}, True, False, False),
        ({"podSelector": {}, "egress": [{}]}, True, True, True),
        ({"podSelector": {}, "policyTypes": ["Egress"]}, False, True, False),
        ({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, True, True, False),
    ],
)
def test_network_policies(spec: dict[str, Any], ingress: bool, egress: bool, allows: bool) -> None:
    metadata = {"name": "x", "namespace": "video", "uid": "u", "resourceVersion": "1"}
    seen = network_policy({"metadata": metadata, "spec": spec})
    assert (seen.isolates_ingress, seen.isolates_egress, seen.allows) == (ingress, egress, allows)


@pytest.mark.parametrize(
    ("target", "ours"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "neural-hdr"}, True),
        ({"kind": "Deployment", "name": "neural-hdr"}, True),
        ({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "neural-hdr"}, False),
        ({"apiVersion": "example.com/v1", "kind": "Deployment", "name": "neural-hdr"}, False),
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}, False),
    ],
)
def test_whose_autoscaler_it_is(target: dict[str, str], ours: bool) -> None:
    assert scales({"spec": {"scaleTargetRef": target}}, "deployment", "neural-hdr") is ours


@pytest.mark.parametrize(
    ("labels", "annotations", "owner"),
    [
        ({}, {"argocd.argoproj.io/tracking-id": "video:apps/Deployment:video/x"}, "Argo CD application video"),
        ({"argocd.argoproj.io/instance": "video"}, {}, "Argo CD application video"),
        (
            {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"},
            {},
            "Flux Kustomization flux-system/apps",
        ),
        ({"helm.toolkit.fluxcd.io/name": "x"}, {}, "Flux HelmRelease video/x"),
        ({"app.kubernetes.io/instance": "x", "app.kubernetes.io/managed-by": "Helm"}, {}, None),
    ],
)
def test_gitops_owners(labels: dict[str, str], annotations: dict[str, str], owner: str | None) -> None:
    meta = ObjectMeta(
        ref=ObjectRef(resource="apps/deployments", namespace="video", name="x"),
        uid="u",
        resource_version="1",
        generation=1,
        labels=labels,
        annotations=annotations,
    )
    assert gitops_owner(meta) == owner


def test_a_service_without_clusters_does_not_pay_for_the_client() -> None:
    program = (
        "import sys; from pathlib import Path; from hdr_responder.adapters.kubernetes import KubernetesAdapter;"
        " KubernetesAdapter.connect('eu-1', Path('/nowhere'), namespaces=());"
        " print('kubernetes_asyncio' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


class TestReach:
    """No request leaves the listed namespaces, whatever asks for it."""

    LISTED = frozenset({"video"})

    @pytest.mark.parametrize("request_", [GET, PATCH, ApiRequest(verb="list", resource="pods", namespace="video")])
    def test_what_is_listed_goes_out(self, request_: ApiRequest) -> None:
        require_reachable("eu-1", request_, self.LISTED)

    @pytest.mark.parametrize("resource", sorted(ABOUT_OURSELVES))
    def test_so_does_what_is_asked_about_ourselves(self, resource: str) -> None:
        require_reachable("eu-1", ApiRequest(verb="create", resource=resource), frozenset())

    @pytest.mark.parametrize("namespace", ["kube-system", "video/../kube-system", "..", "Video", "video ", "*"])
    def test_another_namespace_is_refused_by_name(self, namespace: str) -> None:
        request = ApiRequest(verb="delete", resource="pods", namespace=namespace, name="x")
        with pytest.raises(ForbiddenError) as caught:
            require_reachable("eu-1", request, self.LISTED)
        assert f"namespace {namespace!r} is not listed in config/services.yaml" in str(caught.value)

    @pytest.mark.parametrize(
        "resource", ["pods", "nodes", "namespaces", "apps/deployments", "rbac.authorization.k8s.io/clusterroles"]
    )
    def test_a_whole_cluster_is_refused(self, resource: str) -> None:
        with pytest.raises(ForbiddenError, match="a whole cluster is not listed"):
            require_reachable("eu-1", ApiRequest(verb="list", resource=resource), self.LISTED)

    @pytest.mark.parametrize("name", [".", "..", "../x", "a/b", "%2e%2e", ""])
    def test_a_name_cannot_leave_its_place(self, name: str) -> None:
        """Addresses are normalised on their way: ``pods/..`` would mean the namespace itself."""
        with pytest.raises(PermanentError, match="no object is named"):
            require_reachable(
                "eu-1", ApiRequest(verb="delete", resource="pods", namespace="video", name=name), self.LISTED
            )
