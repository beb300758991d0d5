"""One request to the API server as data, so that its address and its error texts cannot disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from pydantic import JsonValue

Verb = Literal["get", "list", "create", "patch", "delete"]

METHODS: dict[Verb, str] = {"get": "GET", "list": "GET", "create": "POST", "patch": "PATCH", "delete": "DELETE"}

API_PREFIX = {
    "apps": "/apis/apps/v1",
    "authentication.k8s.io": "/apis/authentication.k8s.io/v1",
    "authorization.k8s.io": "/apis/authorization.k8s.io/v1",
    "autoscaling": "/apis/autoscaling/v2",
    "batch": "/apis/batch/v1",
    "metrics.k8s.io": "/apis/metrics.k8s.io/v1beta1",
    "discovery.k8s.io": "/apis/discovery.k8s.io/v1",
    "networking.k8s.io": "/apis/networking.k8s.io/v1",
    "": "/api/v1",
}
"""The version that is spoken of each API group, pinned here alone."""


VERSION = "version"
"""The server's version, which is no resource of any group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource name such as ``apps/deployments`` or ``pods/log`` taken apart."""

    group: str
    plural: str
    subresource: str = ""

    @classmethod
    def parse(cls, text: str) -> Resource:
        """Take ``[group/]plural[/subresource]`` apart; what is no known group is a core resource."""
        first, _, rest = text.partition("/")
        if first not in API_PREFIX and "." not in first and first not in _UNSPOKEN_GROUPS:
            return cls(group="", plural=first, subresource=rest)
        plural, _, subresource = rest.partition("/")
        return cls(group=first, plural=plural, subresource=subresource)


_UNSPOKEN_GROUPS = frozenset({"policy", "extensions"})
"""Undotted groups that we may ask rights about without speaking their API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """What is asked of the API server."""

    verb: Verb
    resource: str
    namespace: str = ""
    name: str = ""
    query: tuple[tuple[str, str], ...] = ()
    body: JsonValue = None
    content_type: str = "application/json"
    dry_run: bool = False

    @property
    def path(self) -> str:
        """The URL path; names are quoted, so that none can leave its place."""
        if self.resource == VERSION:
            return "/version"
        resource = Resource.parse(self.resource)
        parts = [API_PREFIX[resource.group]]
        if self.namespace:
            parts.append(f"namespaces/{quote(self.namespace, safe='')}")
        parts.append(resource.plural)
        if self.name:
            parts.append(quote(self.name, safe=""))
        if resource.subresource:
            parts.append(resource.subresource)
        return "/".join(parts)

    @property
    def sent_body(self) -> JsonValue:
        """The body to send: a deletion that has one takes its dry run from there, and from nowhere else."""
        if self.verb == "delete" and self.dry_run and isinstance(self.body, dict):
            return {**self.body, "dryRun": ["All"]}
        return self.body

    @property
    def changes(self) -> bool:
        """Whether an unanswered request may have changed the cluster."""
        reviews = Resource.parse(self.resource).group in {"authorization.k8s.io", "authentication.k8s.io"}
        return self.verb in {"create", "patch", "delete"} and not self.dry_run and not reviews

    def __str__(self) -> str:
        thing = f"{self.resource} {self.name}".rstrip()
        return f"{self.verb} {thing}" + (f" in {self.namespace}" if self.namespace else "")
