"""Which playbook an alert starts, and which one it never does."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdr_responder.documents.compiling import Library, compile_playbook
from hdr_responder.documents.playbook_document import Playbook
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.precedence import Precedence
from tests.unit.documents.example_actions import registry

LIBRARY = Library({}, registry())


def playbook(name: str, match: list[Any], priorities: str = "P1 P2", environments: str = "") -> CompiledPlaybook:
    document: dict[str, Any] = {
        "apiVersion": "hdr-responder/v1",
        "kind": "Playbook",
        "metadata": {"name": name, "summary": "Looks."},
        "match": match,
        "priorities": priorities.split(),
        "steps": [{"id": "tell", "action": "incident.escalate", "with": {"reason": "look"}}],
    }
    if environments:
        document["environments"] = environments.split()
    compiled, findings = compile_playbook(Playbook.model_validate(document), LIBRARY)
    assert compiled, findings
    return compiled


def told(*playbooks: CompiledPlaybook) -> str | None:
    order = Precedence()
    return [order.add(p) for p in playbooks][-1]


DOWN, BUSY, CRITICAL = "alertname = Down", "alertname = Busy", "severity = critical"


@pytest.mark.parametrize(
    ("first", "then", "why"),
    [
        (playbook("a", [DOWN]), playbook("b", [DOWN]), "only the first would run"),
        (playbook("a", [DOWN]), playbook("b", [DOWN], "P2 P3"), "only the first would run at P2"),
        (playbook("a", [DOWN], environments="staging"), playbook("b", [DOWN], "P2"), "only the first would run at P2"),
        (playbook("a", [DOWN, CRITICAL]), playbook("b", [CRITICAL, DOWN]), "only the first would run"),
        (playbook("a", [DOWN]), playbook("b", [DOWN, CRITICAL]), "no alert ever starts it"),
        (
            playbook("a", ["alertname =~ 'Down|Busy'".replace("'", '"')]),
            playbook("b", [BUSY]),
            "no alert ever starts it",
        ),
        (playbook("a", [[DOWN], [BUSY]]), playbook("b", [BUSY, CRITICAL], "P1"), "no alert ever starts it"),
        (playbook("a", ["severity != none"]), playbook("b", [DOWN, CRITICAL]), "no alert ever starts it"),
        (playbook("a", ["alertname =~ 'D.*'".replace("'", '"')]), playbook("b", [DOWN]), "no alert ever starts it"),
    ],
)
def test_a_later_one_is_never_chosen(first: CompiledPlaybook, then: CompiledPlaybook, why: str) -> None:
    message = told(first, then)
    assert message
    assert why in message
    assert message.endswith(why) or why.startswith("no alert")
    assert "'a'" in message


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (playbook("a", [DOWN, CRITICAL]), playbook("b", [DOWN])),
        (playbook("a", [DOWN], "P1"), playbook("b", [DOWN], "P2")),
        (playbook("a", [DOWN], "P1"), playbook("b", [DOWN, CRITICAL], "P1 P2")),
        (playbook("a", [DOWN], environments="staging"), playbook("b", [DOWN], environments="production")),
        (playbook("a", [DOWN], environments="staging"), playbook("b", [DOWN, CRITICAL])),
        (playbook("a", [DOWN]), playbook("b", [[DOWN, CRITICAL], [BUSY]])),
        (playbook("a", [DOWN]), playbook("b", ["alertname =~ 'Down|Busy'".replace("'", '"')])),
    ],
)
def test_a_later_one_has_its_turn(first: CompiledPlaybook, then: CompiledPlaybook) -> None:
    assert told(first, then) is None


_TEXTS = st.sampled_from(
    [DOWN, BUSY, CRITICAL, "severity != none", 'alertname =~ "Down|Busy"', 'alertname =~ "D.*"', 'cell = ""']
)
_SETS = st.lists(st.lists(_TEXTS, min_size=1, max_size=3), min_size=1, max_size=2)


@given(st.lists(_SETS, min_size=2, max_size=5))
def test_the_look_up_finds_what_comparing_all_finds(sets: list[list[list[str]]]) -> None:
    made = [playbook(f"p{i}", match) for i, match in enumerate(sets)]
    order = Precedence()
    for at, each in enumerate(made):
        assert each.matchers
        covered = any(m.matchers and m.matchers.covers(each.matchers) for m in made[:at])
        assert bool(order.add(each)) is covered


def test_a_thousand_are_looked_up_quickly() -> None:
    made = [playbook(f"p{i}", [f"alertname = A{i}", CRITICAL]) for i in range(1000)]
    order = Precedence()
    begun = time.process_time()
    assert not any(order.add(p) for p in made)
    assert time.process_time() - begun < 1
