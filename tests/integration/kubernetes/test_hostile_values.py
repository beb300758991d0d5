"""Hostile texts in every parameter of every Kubernetes action, done by one whom the cluster would let do anything.

So it is not the cluster's RBAC that keeps them in their namespace. What left for the API server is looked at where the
client sends it, what changed where the API server wrote its audit log.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import pytest
from pydantic import ValidationError

from hdr_responder.actions.contract import Mutation, Parameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ForbiddenError, HdrError
from tests.integration.kubernetes.case import all_cases
from tests.integration.kubernetes.steps import CLUSTER, step, workload
from tests.services.kubernetes import ControlPlane
from tests.unit.actions.samples import HOSTILE, texts, with_text

pytestmark = pytest.mark.service

CASES = all_cases()
PATIENCE_SECONDS = 1.0
"""For one step with one hostile text; what only waits is not waited for."""
ABOUT_OURSELVES = ("/version", "/apis/authentication.k8s.io/", "/apis/authorization.k8s.io/")


@dataclass
class Stage:
    """A cluster on which we may do anything, with all that was sent to it."""

    cluster: KubernetesAdapter
    user: str
    sent: list[str]


@pytest.fixture
async def stage(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Stage]:
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    control_plane.api.request("POST", account, {"metadata": {"name": "mighty"}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"kind": "ServiceAccount", "name": "mighty", "namespace": namespace}
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    body = {"metadata": {"name": f"mighty-{namespace}"}, "roleRef": role, "subjects": [subject]}
    control_plane.api.request("POST", bindings, body)
    answer = control_plane.api.request("POST", f"{account}/mighty/token", {"spec": {"expirationSeconds": 3600}})
    kubeconfig = control_plane.kubeconfig(f"mighty-{namespace}", str(answer["status"]["token"]))
    cluster = KubernetesAdapter.connect(CLUSTER, kubeconfig, namespaces={namespace})
    sent: list[str] = []
    watch(cluster, sent)
    yield Stage(cluster, f"system:serviceaccount:{namespace}:mighty", sent)
    await cluster.close()
    control_plane.api.request("DELETE", f"{bindings}/mighty-{namespace}")


def watch(cluster: KubernetesAdapter, sent: list[str]) -> None:
    """Note the path of every request as it goes over the wire."""
    connection: Any = cluster._connection
    opened = connection._open

    async def open_watched(*arguments: Any) -> Any:
        client = await opened(*arguments)
        session: Any = client.rest_client.pool_manager
        if not getattr(session, "watched", False):
            request = session._request

            async def noting(method: str, url: Any, **more: Any) -> Any:
                response = await request(method, url, **more)
                sent.append(f"{method} {response.request_info.url.raw_path_qs}")
                return response

            session._request = noting
            session.watched = True
        return client

    connection._open = open_watched


async def attempt(action: Any, params: Parameters, stage: Stage) -> None:
    """Do all of a step that there is to do; what is refused is refused with one of our errors."""
    ctx = replace(step(stage.cluster), systems=Systems(kubernetes={CLUSTER: stage.cluster}))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            if not isinstance(action, Mutation):
                await action.execute(ctx, params)
                return
            await action.survey(ctx.systems, params)
            await action.dry_run(ctx, params)
            await action.claim(ctx, params)
            state = await action.capture(ctx, params)
            await action.execute(ctx, params, state)
            await action.observe(ctx, params, state)
            await action.announce(ctx, params, state, undone=False)
            await action.undo(ctx, params, state)
    except (HdrError, TimeoutError):
        pass


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_nothing_outside_of_the_namespace_is_touched(
    control_plane: ControlPlane, namespace: str, stage: Stage, case: Any
) -> None:
    case.arrange(control_plane, namespace)
    usual = case.params(namespace).model_dump(mode="json", by_alias=True, exclude_none=True)
    tried = 0
    for path in dict.fromkeys(texts(case.action.parameters)):
        for text in HOSTILE:
            try:
                data = with_text(usual, case.action.parameters, path, text, case.action.name)
                params = case.action.parameters.model_validate(data)
            except ValidationError:
                continue
            tried += 1
            await attempt(case.action, params, stage)
    await attempt(case.action, case.params(namespace), stage)
    stayed(control_plane, namespace, stage)
    assert tried, "nothing was taken literally, so nothing was proved"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_nor_is_it_by_a_name_that_got_past_the_parameters(
    control_plane: ControlPlane, namespace: str, stage: Stage, case: Any
) -> None:
    """What the parameters refuse, given to the action all the same: requests are judged once more when they leave."""
    case.arrange(control_plane, namespace)
    usual = case.params(namespace)
    before = workloads(control_plane, namespace)
    for wrong in itertools.chain.from_iterable(past_the_parameters(usual, text) for text in HOSTILE):
        await attempt(case.action, wrong, stage)
    await attempt(case.action, usual, stage)
    stayed(control_plane, namespace, stage)
    assert before <= workloads(control_plane, namespace)


def past_the_parameters(usual: Parameters, text: str) -> Iterator[Parameters]:
    """The parameters with a text that nobody judged: as a workload's names, and as each text of their own."""
    for name, value in dict(usual).items():
        if isinstance(value, Workload):
            for field in ("namespace", "name"):
                yield usual.model_copy(update={name: Workload.model_construct(**{**dict(value), field: text})})
        elif isinstance(value, str):
            yield usual.model_copy(update={name: text})


def workloads(control_plane: ControlPlane, namespace: str) -> set[tuple[str, str]]:
    """Name and uid of everything that runs pods there."""
    base = f"/apis/apps/v1/namespaces/{namespace}"
    kinds = ("deployments", "statefulsets", "daemonsets")
    items = [item for kind in kinds for item in control_plane.api.request("GET", f"{base}/{kind}")["items"]]
    return {(item["metadata"]["name"], item["metadata"]["uid"]) for item in items}


def stayed(control_plane: ControlPlane, namespace: str, stage: Stage) -> None:
    """Assert that every request named one thing in the namespace, and that nothing else was changed."""
    assert stage.sent, "nothing was asked of the cluster at all"
    inside = f"/namespaces/{namespace}/"
    for each in stage.sent:
        where = each.partition(" ")[2].partition("?")[0]
        assert inside in where or where.startswith(ABOUT_OURSELVES), each
        assert not {".", ".."} & set(unquote(where).split("/")), each
    changed = control_plane.audit_events(user=stage.user, include_dry_run=True)
    assert {event.namespace for event in changed} <= {namespace}
    assert not [event for event in changed if event.verb == "deletecollection"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_another_namespace_is_refused_by_name(
    control_plane: ControlPlane, namespace: str, stage: Stage, case: Any
) -> None:
    """The same step in a namespace that nobody lists: nothing leaves for it, reads included."""
    params = case.params("kube-system")
    ctx = replace(step(stage.cluster), systems=Systems(kubernetes={CLUSTER: stage.cluster}))
    act = case.action.dry_run if isinstance(case.action, Mutation) else case.action.execute
    with pytest.raises(ForbiddenError, match=r"namespace 'kube-system' is not listed in config/services\.yaml"):
        await act(ctx, params)
    assert stage.sent == []
    assert control_plane.audit_events(user=stage.user) == []


async def test_those_who_may_do_anything_are_kept_in_place_by_us_alone(
    control_plane: ControlPlane, namespace: str, stage: Stage
) -> None:
    """Without the list the same requests would be answered: it is what holds them back."""
    free = KubernetesAdapter.connect(
        CLUSTER,
        control_plane.kubeconfig(f"mighty-{namespace}", _token(control_plane, namespace)),
        namespaces={"default"},
    )
    try:
        control_plane.api.create_deployment("default", f"free-{namespace}", replicas=0)
        seen = await free.workload(workload("default", f"free-{namespace}"))
        assert seen.meta.ref.namespace == "default"
        with pytest.raises(ForbiddenError, match="not listed"):
            await stage.cluster.workload(workload("default", f"free-{namespace}"))
    finally:
        control_plane.api.request("DELETE", f"/apis/apps/v1/namespaces/default/deployments/free-{namespace}")
        await free.close()


def _token(control_plane: ControlPlane, namespace: str) -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/mighty/token"
    return str(control_plane.api.request("POST", path, {"spec": {"expirationSeconds": 3600}})["status"]["token"])
