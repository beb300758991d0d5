"""Who answers, whom it takes us for, and what we may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterIdentity:
    """Who answers and whom it takes us for; ``user`` is empty where the server is too old to tell."""

    version: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRule:
    """A rule that applies to us (Kubernetes contract: ``*`` means every one); ``names`` empty means every object."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRules:
    """What we may do in a namespace; not ``complete`` where an authorizer cannot list its rules."""

    rules: tuple[HeldRule, ...]
    complete: bool


class Right(Protocol):
    """A right to ask about; a step's `Permission` is one."""

    @property
    def verb(self) -> str:
        """The API verb (``patch``)."""

    @property
    def resource(self) -> str:
        """The resource with its group (``apps/deployments``, ``pods/log``)."""

    @property
    def namespace(self) -> str:
        """The namespace, empty for all."""


class AccessCalls(Protocol):
    """Asks about ourselves."""

    async def ping(self) -> ClusterIdentity:
        """Tell who answers; raises ForbiddenError when the credentials are not accepted."""

    async def may(self, right: Right) -> bool:
        """Ask the cluster whether we hold ``right`` (SelfSubjectAccessReview)."""

    async def held(self, namespace: str) -> HeldRules:
        """Ask for all that we may do in a namespace, listed or not (SelfSubjectRulesReview)."""
