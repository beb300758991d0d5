"""The whole: real Alertmanagers, clusters and databases, the service as a process; only people are stood in for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hdr_responder.actions.contract import Permission
from hdr_responder.actions.registry import registry
from hdr_responder.app.documents import load_documents
from hdr_responder.documents.rights import needed_rights
from hdr_responder.settings import load_settings
from tests.acceptance.responder import ROOT, Responder, responder_folder
from tests.fakes import FakePagerDuty, FakeSlack
from tests.fakes.fixtures import fake_pagerduty, fake_slack
from tests.integration.kubernetes.steps import grant
from tests.services.kubernetes import ControlPlane
from tests.services.kubernetes_api import ApiError

__all__ = ["fake_pagerduty", "fake_slack"]

CLUSTER = "prod-eu"
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
    """The cluster with ``deployment/neural-hdr`` running; the responder holds the rights that its playbooks need."""
    control_plane.ensure_running()
    api = control_plane.api
    with contextlib.suppress(ApiError):
        api.create_namespace(NAMESPACE)
        shipped = {"HDR_CONFIG__DIR": str(ROOT / "config"), "HDR_PLAYBOOKS__DIR": str(ROOT / "playbooks")}
        grant(control_plane, needed_permissions(shipped, NAMESPACE))
    control_plane.set_logs(["INFO started", "ERROR lost the connection to the lattice"])
    api.create_deployment(NAMESPACE, "neural-hdr", replicas=3)
    yield control_plane
    control_plane.ensure_running()
    with contextlib.suppress(ApiError):
        api.request("DELETE", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/neural-hdr")
        api.request("DELETE", f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies")


def needed_permissions(environ: Mapping[str, str], namespace: str) -> list[Permission]:
    """Every right that the documents of these settings need in a namespace, as ``hdr-responder rbac`` lists it."""
    needs = needed_rights(load_documents(load_settings(environ=environ)), registry(), [CLUSTER])
    assert not needs.untold
    return [right for right in needs.of("kubernetes", CLUSTER) if right.namespace == namespace]
