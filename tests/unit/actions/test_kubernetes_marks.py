"""Who may raise a fence, over every history of claims."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdr_responder.actions.contract import Fence
from hdr_responder.actions.kubernetes.marks import (
    FENCE,
    PAST_FENCES,
    REMEMBERED_FENCES,
    annotate,
    annotations_to_claim,
    parse_fence,
    pointer,
)
from hdr_responder.errors import FencedError

RUNS = [uuid.UUID(int=number) for number in range(1, 20)]


def fence(run: int, token: int) -> Fence:
    return Fence(run_id=RUNS[run], token=token)


def claimed(*claims: Fence) -> dict[str, str]:
    """An object's annotations after these claims."""
    found: dict[str, str] = {}
    for claim in claims:
        found.update(annotations_to_claim(found, claim) or {})
    return found


def test_a_fence_is_read_back() -> None:
    assert parse_fence(str(fence(0, 7))) == fence(0, 7)


@pytest.mark.parametrize("text", ["", "x", "x/1", f"{RUNS[0]}", f"{RUNS[0]}/", f"{RUNS[0]}/x"])
def test_what_is_no_fence_holds_nothing(text: str) -> None:
    assert annotations_to_claim({FENCE: text}, fence(0, 1)) == {FENCE: str(fence(0, 1))}


def test_a_newer_token_of_the_same_run_takes_over() -> None:
    assert claimed(fence(0, 1), fence(0, 2)) == {FENCE: str(fence(0, 2))}


def test_the_fence_that_is_held_is_not_written_again() -> None:
    assert annotations_to_claim(claimed(fence(0, 1)), fence(0, 1)) is None


def test_an_older_token_of_the_same_run_is_refused() -> None:
    with pytest.raises(FencedError, match="token 2"):
        annotations_to_claim(claimed(fence(0, 2)), fence(0, 1))


def test_another_run_takes_the_target_of_an_ended_one() -> None:
    assert claimed(fence(0, 5), fence(1, 1)) == {FENCE: str(fence(1, 1)), PAST_FENCES: str(fence(0, 5))}


@pytest.mark.parametrize("token", [1, 5])
def test_a_late_worker_of_an_ended_run_cannot_take_it_back(token: int) -> None:
    with pytest.raises(FencedError, match="lost the target"):
        annotations_to_claim(claimed(fence(0, 5), fence(1, 1)), fence(0, token))


def test_an_ended_run_comes_back_with_a_new_token_to_undo() -> None:
    assert claimed(fence(0, 5), fence(1, 1), fence(0, 6)) == {FENCE: str(fence(0, 6)), PAST_FENCES: str(fence(1, 1))}


def test_only_so_many_past_fences_are_remembered() -> None:
    found = claimed(*(fence(run, 1) for run in range(len(RUNS))))
    assert len(found[PAST_FENCES].split(",")) == REMEMBERED_FENCES


@given(st.lists(st.tuples(st.integers(0, REMEMBERED_FENCES), st.integers(1, 4)), max_size=30))
def test_no_history_lets_an_older_token_follow_a_newer_one(claims: list[tuple[int, int]]) -> None:
    found: dict[str, str] = {}
    newest: dict[int, int] = {}
    for run, token in claims:
        before = found.get(FENCE)
        try:
            written = annotations_to_claim(found, fence(run, token))
        except FencedError:
            assert token <= newest[run]
            continue
        if written is None:
            assert before == str(fence(run, token))
        else:
            assert token > newest.get(run, 0)
            found.update(written)
        newest[run] = token


def test_a_pointer_escapes_what_separates() -> None:
    assert pointer("a/b~c", "d") == "/a~1b~0c/d"


def test_annotations_are_added_to_those_that_are_there() -> None:
    assert annotate("/metadata/annotations", {"other": "kept"}, {"a/b": "1"}) == [
        {"op": "add", "path": "/metadata/annotations/a~1b", "value": "1"}
    ]


def test_a_missing_map_is_made_only_while_it_is_missing() -> None:
    assert annotate("/metadata/annotations", None, {"a/b": "1"}) == [
        {"op": "test", "path": "/metadata/annotations", "value": None},
        {"op": "add", "path": "/metadata/annotations", "value": {"a/b": "1"}},
    ]
