"""The lint over the registry: what an action or check does not declare cannot be judged at night."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from ruamel.yaml import YAML

from hdr_responder.actions.contract import AnyAction, AnyCheck, AnyMutation, Mutation, Read, Undo
from hdr_responder.actions.registry import registry
from hdr_responder.documents.compiling import Library, compile_playbook
from hdr_responder.documents.playbook_document import Playbook

ACTIONS = registry().actions
CHECKS = registry().checks
MUTATIONS = {name: action for name, action in ACTIONS.items() if isinstance(action, Mutation)}
PARAMS = {
    "workload": "${service.workload}",
    "server": {"type": "string", "default": "hdr_empire"},
    "app": {"type": "string", "default": "shop"},
}
EARLIER = [
    {"id": "find", "action": "postgres.blocking_chain", "with": {"target": "${params.server}"}},
    {"id": "long", "action": "postgres.long_queries", "with": {"target": "${params.server}"}},
    {"id": "blockers", "action": "postgres.blocking_chain", "with": {"target": "${params.server}"}},
    {
        "id": "scale",
        "action": "kubernetes.scale",
        "with": {"workload": "${params.workload}", "by": 1, "maximum": 5},
    },
]


def written(text: str) -> Any:
    return YAML(typ="safe").load(StringIO(text))


def findings(**changes: Any) -> list[str]:
    document = {
        "apiVersion": "hdr-responder/v1",
        "kind": "Playbook",
        "metadata": {"name": "example", "summary": "An example."},
        "manual": True,
        "params": PARAMS,
        "steps": EARLIER,
        "verify": {"all": [{"alert": "resolved"}]},
    }
    return [str(f) for f in compile_playbook(Playbook.model_validate(document | changes), Library({}, registry()))[1]]


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_an_action_declares_what_it_is(action: AnyAction) -> None:
    assert isinstance(action, Read | Mutation)
    assert action.name.count(".") == 1
    assert action.summary
    assert action.default_timeout_seconds > 0
    for model in (action.parameters, action.result):
        assert model.model_config.get("extra") == "forbid"
        assert model.model_config.get("frozen")


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_the_example_of_an_action_is_a_step(action: AnyAction) -> None:
    step = written(action.example)
    assert step["action"] == action.name
    others = [s for s in EARLIER if s["id"] != step["id"]]
    undo = {"undo": "none"} if isinstance(action, Mutation) and action.undoable is Undo.NONE else {}
    assert findings(steps=[*others, step | undo]) == []


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_the_example_of_a_check_is_one(check: AnyCheck) -> None:
    example = written(check.example)
    assert list(example) == [check.name]
    assert check.summary
    assert check.parameters.model_config.get("extra") == "forbid"
    assert findings(verify={"all": [example]}) == []


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_a_mutation_declares_its_dangers(mutation: AnyMutation) -> None:
    assert isinstance(mutation.destructive, bool)
    assert isinstance(mutation.holds_fence, bool)
    assert isinstance(mutation.awaits_dependencies, bool)
    assert mutation.effect_group in registry().effect_groups
    own = type(mutation)
    if mutation.undoable is Undo.RESTORES:
        assert own.undo is not Mutation.undo, "it says that it restores"
    if mutation.holds_fence:
        assert own.claim is not Mutation.claim, "it says that its target holds the fence"
