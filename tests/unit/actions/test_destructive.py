"""What is destructive is decided for every change: at P1 it needs another person's word than the requester's."""

from __future__ import annotations

import pytest

from hdr_responder.actions.contract import AnyMutation, Mutation
from hdr_responder.actions.registry import registry

MUTATIONS = {a.name: a for a in registry().actions.values() if isinstance(a, Mutation)}


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_every_mutation_decides(mutation: AnyMutation) -> None:
    assert mutation.destructive in {True, False}


@pytest.mark.parametrize(
    ("name", "destructive"),
    [
        ("kubernetes.rollout_restart", False),
        ("kubernetes.scale", False),
        ("kubernetes.scale_to_zero", True),
        ("kubernetes.isolate", True),
        ("kubernetes.release", True),
        ("postgres.terminate_blocker", True),
        ("redis.delete_by_pattern", True),
        ("redis.set_config", False),
    ],
)
def test_what_ends_or_cuts_off_is_destructive(name: str, destructive: bool) -> None:
    assert MUTATIONS[name].destructive is destructive
