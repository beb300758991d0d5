"""Texts that mean something in another language, in every place of every action and check where a text can stand.

They are refused, or taken literally: then the step acts where it would have acted, or where the guard ``protected`` and
the adapters refuse it by name.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from hdr_responder.actions.contract import AnyAction, AnyCheck, Mutation, Parameters
from hdr_responder.actions.places import TARGET_KINDS, place_of, places_of
from hdr_responder.actions.registry import registry
from hdr_responder.domain.reach import Reach
from hdr_responder.domain.workloads import Workload
from tests.unit.actions.samples import (
    CACHE,
    DATABASE,
    HOSTILE,
    NAMESPACE,
    WORKLOAD,
    Path,
    takes,
    texts,
    with_text,
    written,
)

USERS: dict[str, AnyAction | AnyCheck] = {**registry().actions, **registry().checks}
REACH = Reach(namespaces=frozenset({NAMESPACE}), databases=frozenset({DATABASE}), caches=frozenset({CACHE}))

every_user = pytest.mark.parametrize("user", USERS.values(), ids=USERS)


def parameters(user: AnyAction | AnyCheck, data: dict[str, Any]) -> Parameters | None:
    found = takes(user.parameters, data)
    assert found is None or isinstance(found, Parameters)
    return found


def names_a_place(user: AnyAction | AnyCheck, path: Path) -> bool:
    system = user.name.partition(".")[0]
    return path[-1] == "namespace" or (path[-1] == "target" and system in TARGET_KINDS)


@every_user
def test_the_example_acts_where_it_may(user: AnyAction | AnyCheck) -> None:
    """The sample that hostile texts are put into is one that would be done."""
    params = parameters(user, written(user))
    assert params is not None, written(user)
    assert REACH.protected(places_of(user, params)) == ()


@every_user
def test_rights_are_held_where_the_parameters_say(user: AnyAction | AnyCheck) -> None:
    """What guards and `check` see of the places is all that there is: no action hides one in its rights alone."""
    params = parameters(user, written(user))
    assert params is not None
    rights = {place for right in user.permissions(params) if (place := place_of(right))}
    shown = set(places_of(user, params))
    assert rights <= shown
    system = user.name.partition(".")[0]
    if system in TARGET_KINDS or (system == "kubernetes" and user.parameters.model_fields):
        assert shown, f"{user.name} acts on {system}, and its parameters do not say where"


@every_user
def test_a_hostile_text_is_refused_or_stays_where_it_may(user: AnyAction | AnyCheck) -> None:
    base = written(user)
    usual = parameters(user, base)
    assert usual is not None
    for path in dict.fromkeys(texts(user.parameters)):
        for text in HOSTILE:
            params = parameters(user, with_text(base, user.parameters, path, text, user.name))
            if params is None:
                continue
            places = set(places_of(user, params))
            if names_a_place(user, path):
                assert REACH.protected(places), f"{user.name}: {path}: {text!r} acts in {places}"
            else:
                assert places == set(places_of(user, usual)), f"{user.name}: {path}: {text!r} acts in {places}"
                _judge_target(user, params, path)


def _judge_target(user: AnyAction | AnyCheck, params: Parameters, path: Path) -> None:
    """No text tears the line that a target is told in; clusters and sources of such names no settings know."""
    if isinstance(user, Mutation) and path[-1] not in {"cluster", "source"}:
        target = user.target(params)
        assert target.key.isprintable(), target.key
        assert not any(unicodedata.category(char) == "Cc" for char in target.title), target.title


@pytest.mark.parametrize("text", [t for t in HOSTILE if t != "kube-system"])
@pytest.mark.parametrize("field", ["namespace", "name"])
def test_no_workload_has_such_a_name(field: str, text: str) -> None:

    assert takes(Workload, {**WORKLOAD, field: text}) is None
