"""What we hold beyond what the playbooks need: a right that nothing uses helps only whoever breaks in.

Kubernetes itself grants every authenticated user a few harmless rights; those are not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from hdr_responder.actions.contract import Permission
from hdr_responder.adapters.kubernetes.requests import Resource
from hdr_responder.domain.ports.kubernetes import HeldRule
from hdr_responder.domain.ports.kubernetes.access import AccessCalls

ANY = "*"
ELSEWHERE = ("default", "kube-system")
"""Namespaces that every cluster has; rights there that nobody lists come from a role for the whole cluster."""
_EVERYBODYS = frozenset(
    {
        ("create", "authentication.k8s.io", "selfsubjectreviews"),
        ("create", "authorization.k8s.io", "selfsubjectaccessreviews"),
        ("create", "authorization.k8s.io", "selfsubjectrulesreviews"),
    }
)
_WORST = ("secrets", "serviceaccounts/token", "pods/exec", "pods/attach", "roles", "rolebindings", "clusterroles")
"""Resources by which one right becomes many; told first."""


_Right = tuple[str, str, str]
"""Verb, API group and resource."""


@runtime_checkable
class RightsHolder(Protocol):
    """A target that can tell what our role there lacks, and what it could do besides."""

    async def missing(self, permissions: Sequence[Permission]) -> tuple[str, ...]:
        """Return those of the rights that we do not hold, as text."""

    async def excess(self, needed: Sequence[Permission] = ()) -> tuple[str, ...]:
        """Return what our role could do beyond the needed rights, as text."""


class Versioned(Protocol):
    """What a server says of itself."""

    @property
    def version(self) -> str:
        """The server's version."""


class PingedHolder(RightsHolder, Protocol):
    """A target that answers."""

    @property
    def name(self) -> str:
        """The name under ``targets``."""

    async def ping(self) -> Versioned:
        """Connect, ask one question, leave."""


async def cluster_excess(
    cluster: AccessCalls, needed: Sequence[Permission], namespaces: Iterable[str]
) -> tuple[str, ...]:
    """Return what we may do in a cluster and need not, the worst first; ``namespaces`` are the listed ones."""
    listed = sorted(namespaces)
    asked = [*listed, *(name for name in ELSEWHERE if name not in listed)]
    answers = await asyncio.gather(*(cluster.held(name) for name in asked))
    found: dict[str, None] = {}
    for namespace, answer in zip(asked, answers, strict=True):
        wanted = _EVERYBODYS | {_right(r) for r in needed if r.namespace == namespace}
        where = f"in {namespace}" if namespace in listed else f"in {namespace}, which no service lists"
        for text in sorted((t for rule in answer.rules for t in _beyond(rule, wanted)), key=_badness):
            found[f"{text} {where}"] = None
        if not answer.complete:
            found[f"more that the cluster cannot list {where}"] = None
    return tuple(found)


def _beyond(rule: HeldRule, wanted: frozenset[_Right]) -> Iterator[str]:
    only = f" (of {', '.join(rule.names)})" if rule.names else ""
    for group in rule.groups:
        for resource in rule.resources:
            verbs = [verb for verb in rule.verbs if (verb, group, resource) not in wanted]
            if verbs:
                shown = f"{group}/{resource}" if group else resource
                yield f"{', '.join(verbs)} {shown}{only}"


def _right(right: Permission) -> _Right:
    found = Resource.parse(right.resource)
    resource = f"{found.plural}/{found.subresource}" if found.subresource else found.plural
    return right.verb, found.group, resource


def _badness(text: str) -> tuple[int, str]:
    worst = ANY in text or text.partition(" (")[0].endswith(_WORST)
    return (0 if worst else 1), text
