"""How a cluster's refusals and silences reach people: named, and without secrets."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hdr_responder.actions.contract import Permission
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.errors import ConfigError, ForbiddenError, NotFoundError, UnavailableError
from tests.fakes.everywhere import EVERYWHERE
from tests.integration.kubernetes.steps import grant, responder, workload
from tests.services.kubernetes import ControlPlane
from tests.services.ports import free_port

pytestmark = pytest.mark.service


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


class TestErrors:
    async def test_an_unreachable_cluster_is_named(self, namespace: str, control_plane: ControlPlane) -> None:
        nowhere = control_plane.folder / "nowhere.kubeconfig"
        text = control_plane.admin_kubeconfig.read_text().replace(
            control_plane.server, f"https://127.0.0.1:{free_port()}"
        )
        nowhere.write_text(text)
        adapter = KubernetesAdapter.connect("eu-1", nowhere, namespaces=EVERYWHERE)
        with pytest.raises(UnavailableError, match="cluster eu-1 cannot be reached"):
            await adapter.workload(workload(namespace))
        await adapter.close()

    async def test_a_frozen_api_server_is_given_up(self, namespace: str, control_plane: ControlPlane) -> None:
        adapter = responder(control_plane, timeout=0.5)
        control_plane.apiserver.suspend()
        try:
            with pytest.raises(UnavailableError, match=r"no answer within 0\.5 s|cannot be reached"):
                await adapter.workload(workload(namespace))
        finally:
            control_plane.apiserver.resume()
            await adapter.close()

    async def test_a_wrong_token_is_refused_and_not_shown(self, namespace: str, control_plane: ControlPlane) -> None:
        secret = uuid.uuid4().hex
        adapter = KubernetesAdapter.connect(
            "eu-1", control_plane.kubeconfig("stranger", token=secret), namespaces=EVERYWHERE
        )
        with pytest.raises(ForbiddenError, match="credentials are not accepted") as caught:
            await adapter.workload(workload(namespace))
        assert secret not in str(caught.value)
        admin = json.loads(control_plane.admin_kubeconfig.read_text())["users"][0]["user"]["token"]
        control_plane.kubeconfig("stranger", token=admin)
        assert (await adapter.ping()).user == "admin"
        await adapter.close()

    @pytest.mark.parametrize("content", [None, "{broken: [", "users: 5", '{"users": [{"token": "s3cr3t-value"}]}'])
    async def test_a_useless_kubeconfig_is_named_and_not_quoted(self, tmp_path: Path, content: str | None) -> None:
        path = tmp_path / "kubeconfig"
        if content is not None:
            path.write_text(content)
        adapter = KubernetesAdapter.connect("eu-1", path, namespaces=EVERYWHERE)
        with pytest.raises(ConfigError, match="eu-1") as caught:
            await adapter.ping()
        assert str(path) in str(caught.value)
        assert "s3cr3t" not in str(caught.value)
        assert caught.value.__cause__ is None
        await adapter.close()

    async def test_a_missing_workload_suggests_names(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr", wait=False)
        missing = workload(namespace, "neural-hrd")
        grant(control_plane, [deployments(namespace, "get")])
        with pytest.raises(NotFoundError, match=rf"no deployment/neural-hrd in namespace {namespace}$"):
            await cluster.workload(missing)
        grant(control_plane, [deployments(namespace, "list")], role="lister")
        with pytest.raises(NotFoundError, match=r"did you mean neural-hdr\?"):
            await cluster.workload(missing)

    async def test_gitops_owners_are_recognised(self, control_plane: ControlPlane, namespace: str) -> None:
        adapter = KubernetesAdapter.connect("test", control_plane.admin_kubeconfig, namespaces=EVERYWHERE)
        tracking = {"argocd.argoproj.io/tracking-id": "video:apps/Deployment:x/neural-hdr"}
        control_plane.api.create_deployment(namespace, "neural-hdr", annotations=tracking, wait=False)
        control_plane.api.create_deployment(namespace, "by-hand", wait=False)
        assert (await adapter.workload(workload(namespace))).meta.gitops == "Argo CD application video"
        assert (await adapter.workload(workload(namespace, "by-hand"))).meta.gitops is None
        await adapter.close()


def deployments(namespace: str, verb: str) -> Permission:
    return Permission(system="kubernetes", scope="test", verb=verb, resource="apps/deployments", namespace=namespace)
