"""Where an action or a check acts, by its parameters: what guards and `check` compare with the service catalogue.

One convention for all: a workload, or a text called ``namespace``, names a namespace; a text called ``target`` of what
is named ``postgres.*`` or ``redis.*`` names a database or Redis server of the settings. The registry's lint holds every
action to it, and what an action's rights say counts as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from hdr_responder.actions.contract import Action, AnyAction, AnyCheck, Parameters, Permission
from hdr_responder.domain.reach import Place, PlaceKind
from hdr_responder.domain.workloads import Workload

NAMESPACE, TARGET = "namespace", "target"
TARGET_KINDS: Mapping[str, PlaceKind] = {"postgres": "database", "redis": "cache"}
"""What ``target`` names, by the system in front of the dot of an action's name."""


def places_of(action: AnyAction | AnyCheck, params: Parameters) -> tuple[Place, ...]:
    """Return where a step acts, each place once, as far as its parameters are known."""
    written = (place for name, value in vars(params).items() for place in places_in(action.name, name, value))
    return tuple(dict.fromkeys((*written, *_by_rights(action, params))))


def places_in(action: str, name: str, value: object) -> Iterator[Place]:
    """Yield the places that one parameter names."""
    kind = TARGET_KINDS.get(action.partition(".")[0])
    if isinstance(value, Workload):
        yield Place(kind="namespace", name=value.namespace)
    elif isinstance(value, str):
        if name == NAMESPACE:
            yield Place(kind="namespace", name=value)
        elif name == TARGET and kind:
            yield Place(kind=kind, name=value)
    elif isinstance(value, BaseModel):
        for inner, each in vars(value).items():
            yield from places_in(action, inner, each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from places_in(action, name, each)


def place_of(right: Permission) -> Place | None:
    """Return where a right is held; None for what is no place (Slack)."""
    match right.system:
        case "kubernetes":
            return Place(kind="namespace", name=right.namespace)
        case "postgres":
            return Place(kind="database", name=right.scope)
        case "redis":
            return Place(kind="cache", name=right.scope)
        case _:
            return None


def _by_rights(action: AnyAction | AnyCheck, params: Parameters) -> Iterator[Place]:
    if not isinstance(action, Action):
        return
    try:
        rights = action.permissions(params)
    except AttributeError:  # a parameter that an earlier step gives; what it names is refused when it is used
        return
    yield from (place for right in rights if (place := place_of(right)))
