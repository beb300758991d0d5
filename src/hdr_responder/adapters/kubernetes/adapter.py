"""A Kubernetes cluster behind the domain's port: requests out, domain objects in, nothing decided here."""

from __future__ import annotations

import importlib
from collections.abc import Container
from pathlib import Path

from hdr_responder.adapters.kubernetes.access import Access
from hdr_responder.adapters.kubernetes.changes import Changes
from hdr_responder.adapters.kubernetes.connection import Connection, Endpoint
from hdr_responder.adapters.kubernetes.descriptions import Descriptions
from hdr_responder.adapters.kubernetes.exec import Exec
from hdr_responder.adapters.kubernetes.jobs import Jobs
from hdr_responder.adapters.kubernetes.metrics import Metrics
from hdr_responder.adapters.kubernetes.network_policies import NetworkPolicies
from hdr_responder.adapters.kubernetes.pods import Pods
from hdr_responder.adapters.kubernetes.releases import Releases
from hdr_responder.adapters.kubernetes.removals import Removals
from hdr_responder.adapters.kubernetes.services import Services

DEFAULT_TIMEOUT_SECONDS = 10.0


class KubernetesAdapter(
    Access, Releases, Descriptions, Pods, Metrics, Exec, NetworkPolicies, Services, Changes, Removals, Jobs
):
    """One cluster; see `KubernetesCluster` for what each method promises."""

    @classmethod
    def connect(
        cls,
        name: str,
        kubeconfig: Path | None = None,
        context: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        *,
        namespaces: Container[str],
    ) -> KubernetesAdapter:
        """Return the cluster ``name``; nothing is read or reached before the first call.

        Without ``kubeconfig`` it is the cluster we run in, else ``$KUBECONFIG`` or ``~/.kube/config``. ``timeout`` is
        seconds per call. Requests outside of ``namespaces`` raise ForbiddenError and are not sent. Wrong credentials
        files raise ConfigError at the first call.
        """
        endpoint = Endpoint(
            cluster=name, kubeconfig=kubeconfig, context=context, timeout_seconds=timeout, namespaces=namespaces
        )
        return cls(name, Connection(endpoint))

    @staticmethod
    def load_library() -> None:
        """Import the client library, which takes a third of a second: call it in a thread before serving."""
        importlib.import_module("kubernetes_asyncio.client")
        importlib.import_module("kubernetes_asyncio.config")

    async def close(self) -> None:
        """Close the sockets."""
        await self._connection.close()
