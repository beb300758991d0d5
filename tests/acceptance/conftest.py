"""The whole: real Alertmanagers, clusters and databases, the service as a process; only people are stood in for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hdr_responder.actions.contract import Permission
from hdr_responder.actions.kubernetes.logs import Logs
from hdr_responder.actions.registry import registry
from hdr_responder.domain.workloads import Workload
from tests.acceptance.responder import Responder, responder_folder
from tests.fakes import FakePagerDuty, FakeSlack
from tests.fakes.fixtures import fake_pagerduty, fake_slack
from tests.integration.kubernetes.steps import grant
from tests.services.kubernetes import ControlPlane
from tests.services.kubernetes_api import ApiError

__all__ = ["fake_pagerduty", "fake_slack"]

NAMESPACE = "hdr-empire"
"""Of the guarded fleet (manual, services S01-S17)."""

StartResponder = Callable[..., Responder]


@pytest.fixture
def folder() -> Iterator[Path]:
    with responder_folder() as path:
        yield path


@pytest.fixture
def new_responder(folder: Path, database_url: str) -> Iterator[StartResponder]:
    """``new_responder(**settings)`` makes a responder on the test's database; it is ended with the test.

    Settings are environment variables without their prefix: ``KUBERNETES__KUBECONFIG=...``.
    """
    with contextlib.ExitStack() as stack:

        def make(**settings: str) -> Responder:
            environ = {f"HDR_{name}": value for name, value in settings.items()}
            responder = Responder(folder, {"HDR_DATABASE__URL": database_url, **environ})
            stack.callback(responder.process.kill)
            return responder

        yield make


@pytest.fixture
def people(fake_slack: FakeSlack, fake_pagerduty: FakePagerDuty) -> dict[str, str]:
    """Settings that connect a responder to the stand-ins."""
    return {
        "SLACK__BOT_TOKEN": fake_slack.bot_token,
        "SLACK__SIGNING_SECRET": fake_slack.signing_secret,
        "SLACK__CHANNEL": fake_slack.channel.id,
        "SLACK__API_URL": fake_slack.url,
        "PAGERDUTY__ROUTING_KEY": fake_pagerduty.routing_key,
        "PAGERDUTY__EVENTS_URL": fake_pagerduty.events_url,
    }


@pytest.fixture
def fleet(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The cluster with ``deployment/neural-hdr`` running, and the responder holding just the rights it declares."""
    control_plane.ensure_running()
    api = control_plane.api
    with contextlib.suppress(ApiError):
        api.create_namespace(NAMESPACE)
        workload = Workload(cluster="prod-eu", namespace=NAMESPACE, kind="deployment", name="neural-hdr")
        grant(control_plane, declared_permissions(workload))
    control_plane.set_logs(["INFO started", "ERROR lost the connection to the lattice"])
    api.create_deployment(NAMESPACE, "neural-hdr", replicas=3)
    yield control_plane
    control_plane.ensure_running()
    with contextlib.suppress(ApiError):
        api.request("DELETE", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/neural-hdr")
        api.request("DELETE", f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies")


def declared_permissions(workload: Workload) -> list[Permission]:
    """Every right that the shipped playbooks' Kubernetes actions declare for one workload."""
    extra: dict[str, dict[str, object]] = {"kubernetes.scale": {"by": 1, "maximum": 10}}
    found: list[Permission] = []
    for name, action in registry().actions.items():
        if name.startswith("kubernetes."):
            parameters = action.parameters.model_validate({"workload": workload, **extra.get(name, {})})
            found.extend(action.permissions(parameters))
    assert Logs.name in registry().actions
    return found
