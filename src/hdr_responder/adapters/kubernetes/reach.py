"""Which requests may leave at all: those that stay in a listed namespace, and a few that tell about ourselves."""

from __future__ import annotations

from collections.abc import Container

from hdr_responder.adapters.kubernetes.requests import VERSION, ApiRequest
from hdr_responder.domain.reach import not_listed
from hdr_responder.errors import ForbiddenError, PermanentError

ABOUT_OURSELVES = frozenset(
    {
        VERSION,
        "authentication.k8s.io/selfsubjectreviews",
        "authorization.k8s.io/selfsubjectaccessreviews",
        "authorization.k8s.io/selfsubjectrulesreviews",
    }
)
"""Requests outside of any namespace that are sent: they change nothing and tell of nobody else."""


def require_reachable(cluster: str, request: ApiRequest, namespaces: Container[str]) -> None:
    """Raise ForbiddenError for a request that would leave the listed namespaces.

    Raises PermanentError for a name that no object can have and that would lead elsewhere as a part of an address
    (Kubernetes contract: path segment names); without one, what is meant for an object would go to all of its kind.
    """
    if request.namespace:
        if request.namespace not in namespaces:
            place = not_listed(f"namespace {request.namespace[:80]!r}")
            raise ForbiddenError(f"cluster {cluster}: {request.verb} {request.resource}: {place}")
    elif request.resource not in ABOUT_OURSELVES or request.name:
        raise ForbiddenError(f"cluster {cluster}: {request.verb} {request.resource}: {not_listed('a whole cluster')}")
    nameless = not request.name and request.namespace and request.verb in {"get", "patch", "delete"}
    if nameless or request.name in {".", ".."} or "/" in request.name or "%" in request.name:
        raise PermanentError(f"cluster {cluster}: {request.resource}: no object is named {request.name[:80]!r}")
