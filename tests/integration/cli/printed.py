"""The shipped playbooks in a test's own namespace, under the objects that ``rbac`` prints for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from hdr_responder.actions.contract import Mutation, Parameters, Permission, StepContext
from hdr_responder.actions.kubernetes.isolation import Isolate, IsolateParameters
from hdr_responder.actions.registry import registry
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.cli.rehearsal import Setting, rehearse, values_of
from hdr_responder.documents.catalogue import Documents, load
from hdr_responder.documents.compiled import CompiledCheck
from hdr_responder.documents.expressions import ExpressionError
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.runs import Plan
from hdr_responder.settings import Settings
from tests.integration.engine.alerts import alert, delivery
from tests.integration.engine.workshop import NOW
from tests.integration.kubernetes.steps import perform, step
from tests.services.kubernetes import ControlPlane
from tests.services.kubernetes_api import KubernetesApi
from tests.services.waiting import eventually
from tests.unit.cli.command_line import ROOT

CLUSTER = "prod-eu"
ACCOUNT = "hdr-responder"
ISOLATING = "isolate-service"


def catalogue_in(folder: Path, namespace: str) -> Path:
    """A copy of the shipped configuration whose services all run in one namespace."""
    config = folder / "config"
    shutil.copytree(ROOT / "config", config)
    catalogue = YAML(typ="safe").load((config / "services.yaml").read_text("utf-8"))
    for service in catalogue["services"]:
        service["namespace"] = namespace
    (config / "services.yaml").write_text(json.dumps(catalogue), "utf-8")
    return config


def apply(api: KubernetesApi, printed: str) -> list[dict[str, Any]]:
    """Create every object of the printed documents, but the namespace; what was created."""
    documents = [d for d in YAML(typ="safe").load_all(printed) if d["kind"] != "Namespace"]
    places = {
        "ServiceAccount": "/api/v1",
        "Role": "/apis/rbac.authorization.k8s.io/v1",
        "RoleBinding": "/apis/rbac.authorization.k8s.io/v1",
    }
    for document in documents:
        plural = document["kind"].lower() + "s"
        namespace = document["metadata"]["namespace"]
        api.request("POST", f"{places[document['kind']]}/namespaces/{namespace}/{plural}", document)
    return documents


def token_of(api: KubernetesApi, namespace: str) -> str:
    """A token of the printed service account."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{ACCOUNT}/token"
    answer = api.request("POST", path, {"spec": {"expirationSeconds": 3600}})
    return str(answer["status"]["token"])


@dataclass(frozen=True)
class Performance:
    """The shipped playbooks' own steps, done as the printed account."""

    cluster: KubernetesAdapter
    documents: Documents
    control_plane: ControlPlane
    namespace: str

    @classmethod
    def of(cls, control_plane: ControlPlane, config: Path, namespace: str) -> Performance:
        user = f"system:serviceaccount:{namespace}:{ACCOUNT}".replace(":", "-")
        kubeconfig = control_plane.kubeconfig(user, token_of(control_plane.api, namespace))
        documents = load(config, ROOT / "playbooks", registry())
        reach = documents.services.reach
        cluster = KubernetesAdapter.connect(CLUSTER, kubeconfig, namespaces=reach.namespaces)
        return cls(cluster, documents, control_plane, namespace)

    @property
    def playbooks(self) -> Iterator[CompiledPlaybook]:
        """Those that act on Kubernetes."""
        for playbook in self.documents.playbooks:
            if any(step.action.name.startswith("kubernetes.") for step in playbook.actions):
                yield playbook

    async def whole(self, playbook: CompiledPlaybook) -> list[str]:
        """Do every step of a playbook with all that belongs to it, undo included, and every check; what was done."""
        plan = self._plan(playbook)
        done = []
        if playbook.matchers is None:  # a release needs something that is isolated
            (isolate, *_) = self._plan(self.documents.playbook(ISOLATING)).steps
            await perform(Isolate(), self._context(), IsolateParameters.model_validate(isolate.parameters))
        for planned in plan.steps:
            action = registry().actions[planned.action]
            if planned.action.startswith("kubernetes."):
                params = action.parameters.model_validate(planned.parameters)
                await self._life(action, params)
                done.append(planned.action)
        for check in playbook.verify.checks if playbook.verify else ():
            checked = self._known(check, playbook, plan)
            if check.name.startswith("kubernetes.") and checked is not None:
                verdict = await check.check.evaluate(self._context(), checked)
                assert "not allowed" not in verdict.detail
                done.append(check.name)
        return done

    async def wait_for(self, rule: Mapping[str, Any], *, allowed: bool) -> None:
        """Wait until the API server goes by a rule that was just given or taken away."""
        group, (resource,) = rule["apiGroups"][0], rule["resources"]
        name = f"{group}/{resource}".lstrip("/")
        right = Permission(
            system="kubernetes", scope=CLUSTER, verb=rule["verbs"][0], resource=name, namespace=self.namespace
        )

        async def told() -> bool:
            return await self.cluster.may(right) is allowed

        await eventually(told)

    async def _life(self, action: Any, params: Parameters) -> None:
        ctx = self._context()
        if not isinstance(action, Mutation):
            await action.execute(ctx, params)
            return
        await action.survey(ctx.systems, params)
        state, _ = await perform(action, ctx, params)
        await action.observe(ctx, params, state)
        await action.announce(ctx, params, state, undone=False)
        await action.undo(ctx, params, state)

    def _context(self) -> StepContext:
        return replace(step(self.cluster), systems=Systems(kubernetes={CLUSTER: self.cluster}))

    def _plan(self, playbook: CompiledPlaybook) -> Plan:
        started = playbook if playbook.matchers else self.documents.playbook(ISOLATING)
        labels = dict(started.model.tests[0].alerts[0].labels) | {"service": "neural-hdr"}
        fired: dict[str, Any] = {"starts_at": NOW, **labels}
        body = delivery([alert(fired.pop("alertname"), **fired)])
        setting = Setting(settings=Settings(), documents=self.documents)
        rehearsed = rehearse(setting, started, body)
        return rehearsed.plan if started is playbook else setting.planner.plan(playbook, rehearsed.incident, ())

    def _known(self, check: CompiledCheck, playbook: CompiledPlaybook, plan: Plan) -> Parameters | None:
        """A check's parameters, None where a step has to give one."""
        try:
            return check.parameters(values_of(playbook, plan))
        except ExpressionError:
            return None
