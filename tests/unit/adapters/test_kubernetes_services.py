"""Services and EndpointSlices as the API server writes them."""

from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.adapters.kubernetes import shapes
from hdr_responder.adapters.kubernetes.requests import ApiRequest
from hdr_responder.domain.ports.kubernetes import Endpoint

META = {"namespace": "video", "name": "web", "uid": "uid-1", "resourceVersion": "7"}


@pytest.mark.parametrize(
    ("spec", "selector"),
    [
        ({"selector": {"app": "web"}}, {"app": "web"}),
        ({"selector": {"app": "web"}, "clusterIP": "None"}, {"app": "web"}),
        ({"selector": {"app": "web"}, "type": "ExternalName", "externalName": "video.example"}, {}),
        ({"selector": None}, {}),
        ({}, {}),
    ],
    ids=["plain", "headless", "external name", "null", "none"],
)
def test_a_service_selects(spec: dict[str, Any], selector: dict[str, str]) -> None:
    seen = shapes.service({"metadata": META, "spec": spec})
    assert (seen.selector, str(seen.meta.ref)) == (selector, "services/web in video")


def test_endpoints_are_the_pods_of_a_slice() -> None:
    pod = {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "web-1"}, "conditions": {"ready": False}}
    others = [{"addresses": ["10.0.0.2"]}, {"addresses": ["10.0.0.3"], "targetRef": {"kind": "Node", "name": "n"}}]
    labelled = {"metadata": {"labels": {"kubernetes.io/service-name": "web"}}, "endpoints": [pod, *others]}
    assert shapes.endpoints(labelled) == (Endpoint(service="web", pod="web-1"),)
    assert shapes.endpoints({"metadata": {}, "endpoints": [pod]}) == (Endpoint(service="", pod="web-1"),)
    assert shapes.endpoints({"metadata": {}, "endpoints": None}) == ()


def test_their_addresses() -> None:
    service = ApiRequest(verb="get", resource=shapes.SERVICES, namespace="video", name="web")
    assert service.path == "/api/v1/namespaces/video/services/web"
    slices = ApiRequest(verb="list", resource=shapes.ENDPOINT_SLICES, namespace="video")
    assert slices.path == "/apis/discovery.k8s.io/v1/namespaces/video/endpointslices"
