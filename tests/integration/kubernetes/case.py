"""One action with everything that the proofs common to all Kubernetes actions need to know of it.

The families of actions list their cases in the modules of `tests.integration.kubernetes.cases`; every proof runs over
all of them, so that an action that is added is proved like the others.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from hdr_responder.actions.contract import AnyAction, AnyMutation, Mutation, Parameters
from tests.integration.kubernetes import cases
from tests.services.kubernetes import ControlPlane

Arrange = Callable[[ControlPlane, str], None]
"""Prepares the namespace of this name, or has somebody else change something in it."""


def one_deployment(control_plane: ControlPlane, namespace: str) -> None:
    """The Deployment ``neural-hdr`` with one available pod."""
    control_plane.api.create_deployment(namespace, "neural-hdr")


@dataclass(frozen=True, kw_only=True)
class Case:
    """An action with parameters for the namespace of a test, and what the namespace must hold before.

    ``unused`` are declared rights (``patch apps/deployments``) that this arrangement does not use: those on another
    object that may carry the change. ``drift`` has somebody else change what the step wrote; None for what cannot be
    undone. ``absent`` tells that the action works without the workload, so that a missing one is no error.
    """

    action: AnyAction
    params: Callable[[str], Parameters]
    arrange: Arrange = one_deployment
    unused: frozenset[str] = frozenset()
    drift: Arrange | None = None
    absent: bool = False

    @property
    def mutation(self) -> AnyMutation:
        """The action, which changes something."""
        assert isinstance(self.action, Mutation)
        return self.action


@cache
def all_cases() -> Mapping[str, Case]:
    """Every case of every family by its name."""
    found: dict[str, Case] = {}
    for module in pkgutil.iter_modules(cases.__path__):
        listed: dict[str, Case] = importlib.import_module(f"{cases.__name__}.{module.name}").CASES
        assert not found.keys() & listed.keys()
        found |= listed
    return found
