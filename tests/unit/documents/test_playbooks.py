from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hdr_responder.documents.compiling import Library, compile_playbook, thaw
from hdr_responder.documents.expressions import ExpressionError
from hdr_responder.documents.playbook_document import Playbook
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.scope import ScopeValues, ServiceValues, StepOutcome, StepValues
from hdr_responder.documents.source import load_source
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConfigError, InvalidInputError
from tests.unit.documents.example_actions import (
    LogsParameters,
    LogsResult,
    OnWorkload,
    ReleaseResult,
    TerminateParameters,
    registry,
)
from tests.unit.documents.scopes import ALERT, INCIDENT, RELEASE, WORKLOAD

GOOD = Path(__file__).parents[2] / "documents" / "good" / "playbooks" / "high-error-rate.yaml"
LABELS = {"alertname": "HdrHighErrorRate", "severity": "critical"}
SERVICE = ServiceValues(
    name="neural-hdr",
    title="Neural-HDR",
    tier="core",
    owner="sre",
    namespace="hdr-empire",
    critical=False,
    replicas=3,
    depends_on=("postgresql",),
    workload=WORKLOAD,
)
CONTEXT = ScopeValues(incident=INCIDENT, alert=ALERT, alerts=(ALERT,), service=SERVICE)


def _data() -> dict[str, Any]:
    data: dict[str, Any] = load_source(GOOD).data
    return data


def _compiled(**changes: Any) -> CompiledPlaybook:
    compiled, findings = compile_playbook(Playbook.model_validate(_data() | changes), Library({}, registry()))
    assert compiled, findings
    return compiled


def _values(playbook: CompiledPlaybook, **steps: StepValues) -> dict[str, object]:
    params = playbook.resolve_params(CONTEXT.mapping())
    return CONTEXT.model_copy(update={"params": params, "steps": steps}).mapping()


def test_it_applies_by_matchers_priority_and_environment() -> None:
    playbook = _compiled()
    assert playbook.applies_to(LABELS, Priority.P1)
    assert playbook.applies_to(LABELS, Priority.P2, "production")
    assert not playbook.applies_to(LABELS, Priority.P3)
    assert not playbook.applies_to(LABELS, Priority.P1, "development")
    assert not playbook.applies_to(LABELS | {"severity": "info"}, Priority.P1)


def test_params_are_resolved_with_their_types() -> None:
    params = _compiled().resolve_params(CONTEXT.mapping())
    assert params == {"workload": WORKLOAD, "fresh": timedelta(minutes=30), "tail": 100}


def test_a_person_may_give_params_as_text() -> None:
    playbook = _compiled()
    given = {"fresh": "2h", "tail": "7", "workload": "other/statefulset/db"}
    other = Workload(cluster="prod-eu", namespace="other", kind="statefulset", name="db")
    assert playbook.resolve_params(CONTEXT.mapping(), given) == {
        "workload": other,
        "fresh": timedelta(hours=2),
        "tail": 7,
    }


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"fresh": "soon"}, "params.fresh: 'soon' is not a duration"),
        ({"tail": "many"}, "params.tail: expected a number"),
        ({"tail": True}, "params.tail: expected int, got True"),
        ({"tial": 1}, "params.tial: unknown; known are fresh, tail, workload"),
        ({"workload": "neural-hdr"}, "params.workload: 'neural-hdr' is no workload"),
    ],
)
def test_what_a_person_gives_wrongly_is_told(given: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        _compiled().resolve_params(CONTEXT.mapping(), given)
    assert why in str(caught.value)


def test_a_param_without_default_must_be_given() -> None:
    playbook = _compiled(params=_data()["params"] | {"reason": {"type": "string"}})
    with pytest.raises(InvalidInputError, match=r"params\.reason: a value is required"):
        playbook.resolve_params(CONTEXT.mapping())
    assert playbook.resolve_params(CONTEXT.mapping(), {"reason": "test"})["reason"] == "test"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"service": None}, "service.workload: service.workload has no value"),
        ({"service": SERVICE.model_copy(update={"workload": None})}, "gives null"),
    ],
)
def test_a_default_without_a_value_is_an_error(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        _compiled().resolve_params(CONTEXT.model_copy(update=changes).mapping())
    assert why in str(caught.value)


def test_a_named_workload_needs_the_incidents_cluster() -> None:
    params = _data()["params"] | {"ingress": {"type": "workload", "default": "ingress-nginx/deployment/nginx"}}
    playbook = _compiled(params=params)
    ingress = Workload(cluster="prod-eu", namespace="ingress-nginx", kind="deployment", name="nginx")
    assert playbook.resolve_params(CONTEXT.mapping())["ingress"] == ingress
    nowhere = CONTEXT.model_copy(update={"incident": INCIDENT.model_copy(update={"cluster": None})})
    with pytest.raises(ExpressionError, match="the incident has no cluster"):
        playbook.resolve_params(nowhere.mapping())


def test_steps_get_typed_parameters() -> None:
    playbook = _compiled()
    values = _values(playbook)
    logs = playbook.step("logs").parameters(values)
    assert logs == LogsParameters(workload=WORKLOAD, tail=100, grep="ERROR")
    assert playbook.step("release").parameters(values) == OnWorkload(workload=WORKLOAD)
    with pytest.raises(KeyError):
        playbook.step("other")


def test_a_parameter_that_an_expression_makes_wrong_is_refused() -> None:
    playbook = _compiled()
    params = playbook.resolve_params(CONTEXT.mapping(), {"tail": 5000})
    values = CONTEXT.model_copy(update={"params": params}).mapping()
    with pytest.raises(ExpressionError, match="tail: Input should be less than or equal to 1000"):
        playbook.step("logs").parameters(values)


def test_a_condition_reads_the_results_of_earlier_steps() -> None:
    playbook = _compiled()
    when = playbook.step("restart").when
    assert when is not None
    for release, answer in ((RELEASE, True), (ReleaseResult(age=None, ratio=None, previous=None), False)):
        values = _values(playbook, release=StepValues(outcome=StepOutcome.OK, result=release))
        assert when.evaluate(values) is answer
    with pytest.raises(ExpressionError, match=r"steps\.release\.age has no value"):
        when.evaluate(_values(playbook, release=StepValues(outcome=StepOutcome.SKIPPED)))


def test_results_pass_between_steps_unchanged() -> None:
    steps = [*_data()["steps"]]
    end = {"id": "end", "action": "postgres.terminate", "undo": "none"}
    steps.append(end | {"with": {"target": "hdr_empire", "pods": "${steps.release.pods}"}})
    steps.append(
        end
        | {"id": "some", "with": {"target": "hdr_empire", "pods": "${steps.release.pods.filter(p, p.restarts > 1)}"}}
    )
    playbook = _compiled(steps=steps)
    values = _values(playbook, release=StepValues(outcome=StepOutcome.OK, result=RELEASE))
    for step, pods in (("end", RELEASE.pods), ("some", RELEASE.pods[:1])):
        assert playbook.step(step).parameters(values) == TerminateParameters(target="hdr_empire", pods=pods)


def test_what_a_step_depends_on_is_known() -> None:
    playbook = _compiled()
    assert [s.depends_on_steps for s in playbook.steps] == [frozenset(), frozenset(), {"release"}]


def test_timeouts_and_undo_follow_author_and_action() -> None:
    steps = _data()["steps"]
    playbook = _compiled()
    assert [s.timeout for s in playbook.steps] == [timedelta(seconds=60), timedelta(seconds=60), timedelta(minutes=5)]
    assert [s.undoes for s in playbook.steps] == [False, False, True]
    assert playbook.mutates
    steps[2].pop("timeout")
    steps[2].pop("for")
    kept = _compiled(steps=[*steps[:2], steps[2] | {"undo": "none"}])
    assert kept.step("restart").timeout == timedelta(seconds=90)
    assert not kept.step("restart").undoes


def test_verify_and_reactions_are_compiled() -> None:
    playbook = _compiled()
    values = _values(playbook)
    assert playbook.verify is not None
    assert (playbook.verify.need, playbook.verify.hold) == ("all", timedelta(minutes=2))
    query, alert = playbook.verify.checks
    assert query.parameters(values).model_dump() == {
        "query": "sum(rate(http_errors_total{app=$app}[2m]))",
        "args": {"app": "neural-hdr"},
        "below": 0.01,
    }
    assert alert.parameters(values).model_dump() == {"state": "resolved"}
    (reaction,) = playbook.on_failure
    assert reaction.parameters(values).model_dump() == {
        "reason": "INC-1: restart of deployment/neural-hdr did not help, ${ stays"
    }


def test_a_frozen_playbook_is_the_same_playbook() -> None:
    playbook = _compiled()
    frozen = json.loads(json.dumps(playbook.to_json()))
    again = thaw(frozen, registry())
    assert again.model == playbook.model
    assert again.digest == playbook.digest
    assert again.to_json() == frozen
    assert thaw(json.dumps(frozen), registry()).digest == playbook.digest
    assert _compiled(priorities=["P1"]).digest != playbook.digest


def test_frozen_params_keep_their_types() -> None:
    playbook = _compiled()
    params = playbook.resolve_params(CONTEXT.mapping())
    frozen = json.loads(json.dumps(playbook.dump_params(params)))
    assert frozen["fresh"] == "30m"
    assert playbook.load_params(frozen) == params


def test_a_frozen_context_keeps_its_types() -> None:
    frozen = json.loads(CONTEXT.model_dump_json(exclude={"params", "steps"}))
    again = ScopeValues.model_validate(frozen)
    assert again.mapping() == CONTEXT.mapping()


def test_a_frozen_playbook_that_no_longer_fits_is_refused() -> None:
    frozen = _compiled().to_json()
    with pytest.raises(ConfigError, match=r"frozen playbook: steps\.0\.action: unknown action"):
        thaw(frozen | {"steps": [{"id": "x", "action": "kubernetes.gone"}]}, registry())
    with pytest.raises(ConfigError, match="frozen playbook: extra: unknown key"):
        thaw(frozen | {"extra": 1}, registry())


def test_a_mistake_in_a_declaration_is_told_once() -> None:
    data = _data()
    data["params"]["fresh"] = "${service.fresh}"
    data["steps"][1]["action"] = "kubernetes.gone"
    _, findings = compile_playbook(Playbook.model_validate(data), Library({}, registry()))
    assert sorted(str(f) for f in findings) == [
        "params.fresh: unknown name service.fresh",
        "steps.1.action: unknown action",
    ]


def test_a_step_that_was_not_reached_is_none_of_the_outcomes() -> None:
    values = _values(_compiled(), logs=StepValues(outcome=None), release=StepValues(outcome=StepOutcome.FAILED))
    assert [values[f"steps.logs.{o}"] for o in ("ok", "failed", "skipped")] == [False, False, False]
    assert [values[f"steps.release.{o}"] for o in ("ok", "failed", "skipped")] == [False, True, False]


def test_a_result_gives_its_fields() -> None:
    result = StepValues(outcome=StepOutcome.OK, result=LogsResult(lines=3, artifacts=["a"]))
    values = _values(_compiled(), logs=result)
    assert (values["steps.logs.lines"], values["steps.logs.artifacts"]) == (3, ["a"])
