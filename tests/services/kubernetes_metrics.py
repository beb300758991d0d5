"""An aggregated API server that serves ``metrics.k8s.io`` as metrics-server does, with numbers that a test gives.

The API server really forwards to it: authentication, RBAC and aggregation are Kubernetes' own. It is found through an
ExternalName Service, which the aggregator resolves by itself.
"""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from weakref import WeakKeyDictionary

from tests.services.kubernetes import ControlPlane
from tests.services.kubernetes_api import ApiError
from tests.services.processes import ServiceError, poll

GROUP = "metrics.k8s.io"
_VERSION = f"{GROUP}/v1beta1"
_API_SERVICE = f"/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.{GROUP}"
_SERVICE = "/api/v1/namespaces/default/services"
_NAME = "metrics-server"
_SECONDS = 60.0


@dataclass
class MetricsServer:
    """Measures every pod that runs: as a test says in ``usage`` (CPU and memory by pod), else a little of both.

    Pods in ``unmeasured`` are left out, as those that just started; while it is ``failing`` it measures none.
    """

    control_plane: ControlPlane
    usage: dict[str, tuple[str, str]] = field(default_factory=dict)
    unmeasured: set[str] = field(default_factory=set)
    failing: bool = False
    _running: ClassVar[WeakKeyDictionary[ControlPlane, MetricsServer]] = WeakKeyDictionary()

    @classmethod
    def install(cls, control_plane: ControlPlane) -> MetricsServer:
        """Have the cluster serve the metrics API from now on; the one server of a cluster, with no numbers set."""
        server = cls._running.get(control_plane)
        if server is None:
            server = cls._running[control_plane] = cls(control_plane)
            server._start()
        server.usage.clear()
        server.unmeasured.clear()
        server.failing = False
        server._register()
        return server

    @classmethod
    def remove(cls, control_plane: ControlPlane) -> None:
        """Have the cluster serve no metrics API, as a cluster without metrics-server."""
        for path in (_API_SERVICE, f"{_SERVICE}/{_NAME}"):
            if _exists(control_plane, path):
                control_plane.api.request("DELETE", path)
        _await(lambda: not _exists(control_plane, f"/apis/{_VERSION}"), "the end of the metrics API")

    def pod_metrics(self, namespace: str, selector: str) -> dict[str, Any]:
        """The PodMetricsList of the pods that a label selector matches."""
        pods = self.control_plane.api.pods(namespace, selector)
        items = [self._measured(pod) for pod in pods if pod["metadata"]["name"] not in self.unmeasured]
        return {"kind": "PodMetricsList", "apiVersion": _VERSION, "metadata": {}, "items": items}

    def _measured(self, pod: dict[str, Any]) -> dict[str, Any]:
        meta = pod["metadata"]
        cpu, memory = self.usage.get(meta["name"], ("1m", "1Mi"))
        return {
            "metadata": {key: meta[key] for key in ("name", "namespace", "creationTimestamp", "labels") if key in meta},
            "timestamp": meta["creationTimestamp"],
            "window": "15s",
            "containers": [
                {"name": each["name"], "usage": {"cpu": cpu, "memory": memory}} for each in pod["spec"]["containers"]
            ],
        }

    def _start(self) -> None:
        handler = type("Handler", (_Handler,), {"server_of": self})
        server = ThreadingHTTPServer(("localhost", 0), handler)
        server.daemon_threads = True
        certificates = self.control_plane.folder / "certificates"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "apiserver.crt", certificates / "apiserver.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self._port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def _register(self) -> None:
        api = self.control_plane.api
        if not _exists(self.control_plane, f"{_SERVICE}/{_NAME}"):
            service = {"type": "ExternalName", "externalName": "localhost"}
            api.request("POST", _SERVICE, {"metadata": {"name": _NAME}, "spec": service})
        if not _exists(self.control_plane, _API_SERVICE):
            spec = {
                "group": GROUP,
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": _NAME, "namespace": "default", "port": self._port},
            }
            name = _API_SERVICE.rpartition("/")[2]
            api.request("POST", _API_SERVICE.rpartition("/")[0], {"metadata": {"name": name}, "spec": spec})
        _await(lambda: _exists(self.control_plane, f"/apis/{_VERSION}/namespaces/default/pods"), "the metrics API")


class _Handler(BaseHTTPRequestHandler):
    """Answers what the API server forwards."""

    server_of: MetricsServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if parts[:3] != ["apis", *_VERSION.split("/")]:
            self._answer(404, {})
        elif len(parts) == 3:
            pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["list"]}
            self._answer(200, {"kind": "APIResourceList", "groupVersion": _VERSION, "resources": [pods]})
        else:
            if self.server_of.failing:
                self._answer(503, {"kind": "Status", "status": "Failure", "message": "not ready yet", "code": 503})
                return
            selector = parse_qs(url.query).get("labelSelector", [""])[0]
            self._answer(200, self.server_of.pod_metrics(parts[4], selector))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives
        """Say nothing on the tests' output."""

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _exists(control_plane: ControlPlane, path: str) -> bool:
    try:
        control_plane.api.request("GET", path)
    except ApiError as error:
        if error.code in {404, 503}:
            return False
        raise
    return True


def _await(condition: Any, what: str) -> None:
    if not poll(condition, seconds=_SECONDS):
        raise ServiceError(f"{what} did not come in {_SECONDS:.0f} s")
