"""A real Kubernetes control plane; only the kubelets are simulated, by kwok.

etcd, API server, controller manager and scheduler are the released programs, so admission, RBAC, dry runs, conflicts,
garbage collection and rollouts are Kubernetes' own. Nothing is pulled and no container runs.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.services.kubernetes_api import ApiError, KubernetesApi
from tests.services.kubernetes_audit import AUDIT_POLICY, AuditEvent, read_audit_log
from tests.services.kubernetes_pods import kwok_config
from tests.services.ports import free_port
from tests.services.processes import ServiceError, ServiceProcess, accepts_connections, answers_ok, poll, service_folder
from tests.services.tools import require_built

ADMIN = "admin"
RESPONDER = "responder"
_MASTERS = (ADMIN, "kwok", "controller-manager")
_USERS = {
    ADMIN: ADMIN,
    RESPONDER: RESPONDER,
    "kwok": "kwok",
    "controller-manager": "system:kube-controller-manager",
    "scheduler": "system:kube-scheduler",
}
_BARRIER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Ports:
    etcd: int
    etcd_peer: int
    api: int
    kubelet: int


class ControlPlane:
    """One cluster with one node. Its parts are ServiceProcess objects that a test may freeze, end and start again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = _Ports(*(free_port() for _ in range(4)))
        self._tokens = {name: secrets.token_hex(16) for name in _USERS}
        self._numbers = itertools.count(1)
        self._audit_log = folder / "audit.log"
        self.logs_file = folder / "container.log"
        self.previous_logs_file = folder / "container-previous.log"
        self._write_files()
        self.etcd = self._part("kubernetes", "etcd", self._etcd_arguments())
        self.apiserver = self._part("kubernetes", "kube-apiserver", self._apiserver_arguments())
        self.controller_manager = self._part("kubernetes", "kube-controller-manager", self._controller_arguments())
        self.scheduler = self._part("kubernetes", "kube-scheduler", self._scheduler_arguments())
        self.kwok = self._part("kwok", "kwok", self._kwok_arguments())

    @property
    def server(self) -> str:
        """Address of the API server."""
        return f"https://127.0.0.1:{self._ports.api}"

    @property
    def etcd_url(self) -> str:
        """Address of the store behind the API server, which keeps objects as JSON."""
        return f"http://127.0.0.1:{self._ports.etcd}"

    @property
    def api(self) -> KubernetesApi:
        """The cluster as its administrator sees it."""
        return KubernetesApi(self.server, self._tokens[ADMIN], self._ca())

    @property
    def admin_kubeconfig(self) -> Path:
        return self.kubeconfig(ADMIN)

    @property
    def responder_kubeconfig(self) -> Path:
        """Of the user ``responder``, who may do nothing until ``api.grant`` says so."""
        return self.kubeconfig(RESPONDER)

    def kubeconfig(self, user: str, token: str | None = None) -> Path:
        """A kubeconfig file whose context is named ``test``; ``token`` is needed for users made by a test."""
        path = self.folder / f"{user}.kubeconfig"
        path.write_text(_kubeconfig(self.server, self._ca(), user, token or self._tokens[user]))
        path.chmod(0o600)
        return path

    def start(self) -> None:
        """Start everything; returns when the node takes pods."""
        self.etcd.start()
        self.etcd.wait_ready(lambda: answers_ok(f"http://127.0.0.1:{self._ports.etcd}/health"))
        self.start_apiserver()
        for user in ("controller-manager", "scheduler", "kwok"):
            self.kubeconfig(user)
        for part in (self.controller_manager, self.scheduler, self.kwok):
            part.start()
        self.kwok.wait_ready(lambda: accepts_connections(self._ports.kubelet))
        try:
            self.api.create_node("node-1")
        except ServiceError as error:
            raise ServiceError(f"{error}\n{self.log_tails()}") from error

    def start_apiserver(self) -> None:
        """Start the API server alone, for tests that ended it."""
        self.apiserver.start()
        self.apiserver.wait_ready(self._api_ready)

    def ensure_running(self) -> None:
        """Bring back the parts that a test ended or froze."""
        for part in self._parts():
            if part.is_running:
                part.resume()
            elif part is not self.apiserver:
                part.start()
        if not self.apiserver.is_running:
            self.start_apiserver()

    def stop(self) -> None:
        for part in reversed(self._parts()):
            part.stop(seconds=2)

    @contextlib.contextmanager
    def fresh_namespace(self) -> Iterator[str]:
        """A namespace for one test, deleted afterwards; its name."""
        self.ensure_running()
        for previous in (False, True):
            self.set_logs([], previous=previous)
        name = f"test-{next(self._numbers)}"
        self.api.create_namespace(name)
        try:
            yield name
        finally:
            self.ensure_running()
            self.api.delete_namespace(name)

    def audit_events(
        self,
        *,
        user: str | None = None,
        verb: str | None = None,
        resource: str | None = None,
        subresource: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        include_dry_run: bool = False,
    ) -> list[AuditEvent]:
        """The mutating calls answered so far that match every given property, dry runs left out unless asked for.

        Refused calls are among them: look at ``code``. Calls of the control plane's own parts are not.
        """
        wanted = {
            "user": user,
            "verb": verb,
            "resource": resource,
            "subresource": subresource,
            "namespace": namespace,
            "name": name,
        }
        self._await_audit_log()
        return [
            event
            for event in read_audit_log(self._audit_log)
            if (include_dry_run or not event.dry_run)
            and all(value is None or getattr(event, key) == value for key, value in wanted.items())
        ]

    def set_logs(self, lines: Sequence[str], *, previous: bool = False) -> None:
        """What every container has logged from now on; with ``previous`` what its instance before the restart had."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        path = self.previous_logs_file if previous else self.logs_file
        path.write_text("".join(f"{now} stdout F {line}\n" for line in lines))

    def log_tails(self) -> str:
        """The ends of all parts' logs."""
        return "\n".join(part.log_tail() for part in self._parts())

    def _parts(self) -> list[ServiceProcess]:
        return [self.etcd, self.apiserver, self.controller_manager, self.scheduler, self.kwok]

    def _part(self, module: str, program: str, arguments: dict[str, object]) -> ServiceProcess:
        argv = [str(require_built(module, program)), *(f"--{key}={value}" for key, value in arguments.items())]
        return ServiceProcess(name=program, argv=argv, log_path=self.folder / f"{program}.log")

    def _ca(self) -> str:
        return (self.folder / "certificates" / "apiserver.crt").read_text()

    def _api_ready(self) -> bool:
        try:
            return bool(self.api.request("GET", "/readyz")["text"] == "ok")
        except (ApiError, OSError):
            return False

    def _await_audit_log(self) -> None:
        """Make a call of our own and wait until it is logged, so that every earlier call is logged, too."""
        marker = f"audit-barrier-{secrets.token_hex(8)}"
        with contextlib.suppress(ApiError):
            self.api.request("DELETE", f"/api/v1/namespaces/default/configmaps/{marker}?dryRun=All")
        if not poll(lambda: marker in self._audit_log.read_text(), seconds=_BARRIER_SECONDS):
            raise ServiceError(f"the audit log does not show the last call\n{self.apiserver.log_tail()}")

    def _write_files(self) -> None:
        (self.folder / "commands").mkdir()
        groups = {name: "system:masters" if name in _MASTERS else "" for name in _USERS}
        tokens = (f'{self._tokens[name]},{user},{name},"{groups[name]}"' for name, user in _USERS.items())
        texts = {
            "tokens.csv": "\n".join(tokens) + "\n",
            "service-accounts.pem": _private_key(),
            "audit-policy.json": AUDIT_POLICY,
            "kwok.yaml": kwok_config(
                logs=self.logs_file, previous_logs=self.previous_logs_file, commands=self.folder / "commands"
            ),
        }
        for name, text in texts.items():
            (self.folder / name).write_text(text)
        for previous in (False, True):
            self.set_logs([], previous=previous)

    def _etcd_arguments(self) -> dict[str, object]:
        client = f"http://127.0.0.1:{self._ports.etcd}"
        peer = f"http://127.0.0.1:{self._ports.etcd_peer}"
        return {
            "data-dir": self.folder / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
            "log-level": "warn",
        }

    def _apiserver_arguments(self) -> dict[str, object]:
        key = self.folder / "service-accounts.pem"
        return {
            "etcd-servers": self.etcd_url,
            "storage-media-type": "application/json",
            "secure-port": self._ports.api,
            "bind-address": "127.0.0.1",
            "cert-dir": self.folder / "certificates",
            "token-auth-file": self.folder / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-cluster-ip-range": "10.0.0.0/24",
            "audit-policy-file": self.folder / "audit-policy.json",
            "audit-log-path": self._audit_log,
        }

    def _controller_arguments(self) -> dict[str, object]:
        kubeconfig = self.folder / "controller-manager.kubeconfig"
        return {
            "kubeconfig": kubeconfig,
            "leader-elect": "false",
            "secure-port": 0,
            "kube-api-qps": 200,
            "kube-api-burst": 400,
            # kwok sends no heartbeats here: without this the node turns NotReady after a minute.
            "node-monitor-grace-period": "24h",
        }

    def _scheduler_arguments(self) -> dict[str, object]:
        return {"kubeconfig": self.folder / "scheduler.kubeconfig", "leader-elect": "false", "secure-port": 0}

    def _kwok_arguments(self) -> dict[str, object]:
        return {
            "kubeconfig": self.folder / "kwok.kubeconfig",
            "config": self.folder / "kwok.yaml",
            "manage-all-nodes": "true",
            "enable-crds": "",
            "server-address": f"127.0.0.1:{self._ports.kubelet}",
            "node-ip": "127.0.0.1",
            "node-port": self._ports.kubelet,
        }


@contextlib.contextmanager
def run_control_plane() -> Iterator[ControlPlane]:
    """A running control plane in a temporary folder, ended with the block."""
    with service_folder("kubernetes") as folder:
        control_plane = ControlPlane(folder)
        try:
            control_plane.start()
            yield control_plane
        finally:
            control_plane.stop()


def _kubeconfig(server: str, ca: str, user: str, token: str) -> str:
    authority = base64.b64encode(ca.encode()).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "current-context": "test",
    }
    return json.dumps(document, indent=2)


def _private_key() -> str:
    """A new P-256 key in SEC 1 form (RFC 5915), which may leave out the public half."""
    curve = bytes.fromhex("a00a06082a8648ce3d030107")
    body = b"\x02\x01\x01\x04\x20" + secrets.token_bytes(32) + curve
    text = base64.b64encode(b"\x30" + bytes([len(body)]) + body).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{text}\n-----END EC PRIVATE KEY-----\n"
