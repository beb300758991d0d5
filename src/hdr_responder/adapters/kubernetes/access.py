"""Asks who answers and what we may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from hdr_responder.adapters.kubernetes.calls import Calls, at
from hdr_responder.adapters.kubernetes.requests import VERSION, ApiRequest, Resource
from hdr_responder.domain.ports.kubernetes import ClusterIdentity, HeldRule, HeldRules, Right
from hdr_responder.errors import NotFoundError


class Access(Calls):
    """Implements `AccessCalls`."""

    async def ping(self) -> ClusterIdentity:
        """Tell who answers and whom it takes us for."""
        try:
            review = await self._connection.json(
                ApiRequest(
                    verb="create",
                    resource="authentication.k8s.io/selfsubjectreviews",
                    body={"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"},
                )
            )
            user = at(review, "status", "userInfo", "username")
        except NotFoundError:  # servers before 1.28
            user = ""
        version = await self._connection.json(ApiRequest(verb="get", resource=VERSION))
        return ClusterIdentity(version=str(version.get("gitVersion", "")), user=str(user or ""))

    async def may(self, right: Right) -> bool:
        """Ask for one right by SelfSubjectAccessReview."""
        resource = Resource.parse(right.resource)
        attributes: dict[str, JsonValue] = {
            "verb": right.verb,
            "group": resource.group,
            "resource": resource.plural,
            "subresource": resource.subresource,
            "namespace": right.namespace,
        }
        review = await self._connection.json(
            ApiRequest(
                verb="create",
                resource="authorization.k8s.io/selfsubjectaccessreviews",
                body={
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SelfSubjectAccessReview",
                    "spec": {"resourceAttributes": attributes},
                },
            )
        )
        return at(review, "status", "allowed") is True

    async def held(self, namespace: str) -> HeldRules:
        """Ask for all that we may do in a namespace by SelfSubjectRulesReview."""
        review = await self._connection.json(
            ApiRequest(
                verb="create",
                resource="authorization.k8s.io/selfsubjectrulesreviews",
                body={
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SelfSubjectRulesReview",
                    "spec": {"namespace": namespace},
                },
            )
        )
        rules = tuple(
            HeldRule(
                verbs=_texts(rule, "verbs"),
                groups=_texts(rule, "apiGroups"),
                resources=_texts(rule, "resources"),
                names=_texts(rule, "resourceNames"),
            )
            for rule in at(review, "status", "resourceRules") or ()
        )
        return HeldRules(rules=rules, complete=at(review, "status", "incomplete") is not True)


def _texts(rule: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(str(text) for text in rule.get(key) or ())
