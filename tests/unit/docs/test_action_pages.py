"""The reference of actions and checks leaves nothing out."""

from __future__ import annotations

import re

import pytest

from hdr_responder.actions.contract import AnyAction, AnyMutation, Mutation
from hdr_responder.actions.registry import registry
from tests.unit.docs.action_pages import action_reference, check_reference, kind_of

ACTIONS = registry().actions
REFERENCE = action_reference()
MUTATIONS = {name: action for name, action in ACTIONS.items() if isinstance(action, Mutation)}


def section(name: str) -> str:
    """The text below an action's heading."""
    return REFERENCE.partition(f"### {name}\n")[2].partition("\n### ")[0]


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_a_section_tells_every_parameter_and_result(action: AnyAction) -> None:
    text = section(action.name)
    told = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    fields = [f.alias or n for n, f in action.parameters.model_fields.items()]
    assert told == fields + [f.alias or n for n, f in action.result.model_fields.items()]
    for line in ("| rights |", "| time limit |", "| changes |", "| cancelled |", "```yaml"):
        assert line in text


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_a_mutation_says_how_it_is_observed_rehearsed_and_undone(mutation: AnyMutation) -> None:
    """The words are those of its own methods, not those of the contract."""
    for name in ("observe", "dry_run"):
        method, contract = getattr(type(mutation), name), getattr(Mutation, name)
        assert method.__doc__, f"{mutation.name}.{name} has no docstring"
        assert method.__doc__ != contract.__doc__
    text = section(mutation.name)
    for line in ("| rehearsed |", "| known to have taken effect |", "| taken back |"):
        assert line in text


def test_every_action_and_check_has_a_section() -> None:
    headings = re.findall(r"^### (.+)$", action_reference() + "\n" + check_reference(), re.MULTILINE)
    assert sorted(headings) == sorted([*ACTIONS, *registry().checks])


@pytest.mark.parametrize(
    ("annotation", "word"),
    [
        (str | None, "text"),
        (tuple[str, ...], "list of text"),
        (dict[str, int | str], "mapping of text to whole number or text"),
        (bool, "`true` or `false`"),
    ],
)
def test_types_in_plain_words(annotation: object, word: str) -> None:
    assert kind_of(annotation) == word
