"""Which rights the documents need, and for what: the one list behind generated roles and the doctor's questions.

Every way in which a playbook can start is walked through: each cluster, and each service that its matchers let in. What
a label, a person or an earlier step gives is not known, so there everything counts that is listed in the service
catalogue. An action that cannot tell its rights without such a value is told by name, never left out in silence.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from pydantic import ValidationError

from hdr_responder.actions.contract import AnyAction, AnyCheck, Parameters, Permission, Registry
from hdr_responder.actions.places import NAMESPACE, TARGET, TARGET_KINDS, place_of
from hdr_responder.documents.catalogue import Documents
from hdr_responder.documents.compiled import ITEM, CompiledCall, CompiledStep, Each
from hdr_responder.documents.expressions import ExpressionError
from hdr_responder.documents.health import compile_probes
from hdr_responder.documents.params import CompiledParam
from hdr_responder.documents.partial import partial_parameters
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.scope import IncidentValues, ScopeValues
from hdr_responder.documents.services import Service, ServiceCatalogue
from hdr_responder.documents.templates import Template
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import InvalidInputError

CLUSTER = "cluster"
_OF_THE_INCIDENT = frozenset(f"incident.{name}" for name in ("ref", "title", "priority", "problem"))
"""What no catalogue tells of an incident."""
_UNHEARD_OF = "\0"
"""A label's value that no catalogue has."""


class _Unknown:
    """Stands for a value that only a run has."""


_UNKNOWN = _Unknown()


class _ImpossibleError(Exception):
    """A playbook cannot be planned in this situation, so it needs nothing there."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Rights with those who need them (``restart-service: logs (kubernetes.logs)``), and what could not be told."""

    rights: Mapping[Permission, frozenset[str]]
    untold: tuple[str, ...]
    """Who could not tell its rights, and why; while there is any, the rights are not complete."""
    out_of_reach: tuple[str, ...]
    """Rights outside of what the service catalogue lists, with who needs them; they are granted to nobody."""

    def of(self, system: str, scope: str | None = None) -> tuple[Permission, ...]:
        """Return the rights on a system, in order; ``scope`` is a cluster or target."""
        found = (p for p in self.rights if p.system == system and scope in {None, p.scope})
        return tuple(sorted(found, key=str))

    def scopes(self, system: str) -> tuple[str, ...]:
        """Return the clusters or targets of a system that any right is needed on, in order."""
        return tuple(sorted({p.scope for p in self.rights if p.system == system}))


def needed_rights(documents: Documents, registry: Registry, clusters: Sequence[str]) -> Needs:
    """Return what the playbooks and the health probes of the documents need, for incidents of these clusters."""
    collected = _Collected(documents.services)
    for playbook in documents.playbooks:
        for cluster, service in itertools.product(tuple(clusters) or (None,), _services(playbook, documents.services)):
            situation = _Situation(documents.services, cluster, service)
            try:
                found = list(_of_playbook(playbook, situation))
            except _ImpossibleError:
                continue
            for use in found:
                collected.add(use, situation)
    for probe in compile_probes(documents.services, registry)[0].values():
        for cluster in tuple(clusters) or (None,):
            situation = _Situation(documents.services, cluster, probe.service)
            given = _given(probe.with_.template, _Frame(situation.values, {}))
            who = f"service {probe.service.name}: health ({probe.check.name})"
            collected.add(_Use(who, probe.check, given), situation)
    return collected.needs()


@dataclass(frozen=True, slots=True)
class _Situation:
    """What is known of an incident before it happens."""

    services: ServiceCatalogue
    cluster: str | None
    service: Service | None

    @property
    def values(self) -> dict[str, object]:
        """What expressions read, without params."""
        incident = IncidentValues(
            ref="",
            title="",
            service=self.service.name if self.service else None,
            priority="",
            cluster=self.cluster,
            problem="",
        )
        service = self.service.values(self.cluster) if self.service else None
        return ScopeValues(incident=incident, service=service).mapping()


@dataclass(frozen=True, slots=True)
class _Frame:
    """A playbook's expressions: what they read, params that may be unknown, and the entry of a list."""

    values: Mapping[str, object]
    params: Mapping[str, object]
    item: object = None

    def evaluate(self, template: Template) -> object:
        """Return what a template gives, or `_UNKNOWN`. Raises ExpressionError where it has no value."""
        if any(self._is_unknown(name) for name in template.names):
            return _UNKNOWN
        return template.evaluate(self._reading())

    def _is_unknown(self, name: str) -> bool:
        root, _, rest = name.partition(".")
        if root == "params":
            return self.params.get(rest.partition(".")[0]) is _UNKNOWN
        if root == ITEM:
            return self.item is _UNKNOWN
        return root in {"alert", "alerts", "steps"} or name in _OF_THE_INCIDENT

    def _reading(self) -> dict[str, object]:
        nobody = IncidentValues(ref="", title="", service=None, priority="", cluster=None, problem="")
        known = {name: value for name, value in self.params.items() if value is not _UNKNOWN}
        item = None if self.item is _UNKNOWN else self.item
        own = ScopeValues(incident=nobody, params=known, item=item).mapping()
        return {**{name: value for name, value in own.items() if name.startswith(("params.", ITEM))}, **self.values}


@dataclass(frozen=True, slots=True)
class _Use:
    """An action or a check with the values that it is given; unknown ones are `_UNKNOWN`."""

    who: str
    user: AnyAction | AnyCheck
    given: Mapping[str, object]


@dataclass(slots=True)
class _Collected:
    """Rights as they are found."""

    services: ServiceCatalogue
    rights: dict[Permission, set[str]] = field(default_factory=dict)
    untold: dict[str, None] = field(default_factory=dict)
    out_of_reach: dict[str, None] = field(default_factory=dict)

    def add(self, use: _Use, situation: _Situation) -> None:
        """Ask for the rights of one use, with every value that its unknown parameters may have."""
        for params in _possible(use, situation):
            try:
                found = use.user.permissions(params)
            except AttributeError as error:
                self.untold[f"{use.who}: {_why(error)}"] = None
                continue
            for right in found:
                self._keep(right, use.who)

    def _keep(self, right: Permission, who: str) -> None:
        place = place_of(right)
        if place is not None and not self.services.reach.has(place):
            self.out_of_reach[f"{who}: {right}"] = None
        else:
            self.rights.setdefault(right, set()).add(who)

    def needs(self) -> Needs:
        """Return them."""
        rights = {right: frozenset(self.rights[right]) for right in sorted(self.rights, key=str)}
        return Needs(rights, tuple(sorted(self.untold)), tuple(sorted(self.out_of_reach)))


def _services(playbook: CompiledPlaybook, services: ServiceCatalogue) -> tuple[Service | None, ...]:
    """Return the services that incidents of a playbook may be of, None for none; empty where nothing starts it."""
    nobody: tuple[Service | None, ...] = (None,)
    if playbook.model.manual:
        return (*nobody, *services.services)
    wanted: set[str] = set()
    label = services.identified_by[0]
    for every in playbook.matchers.alternatives if playbook.matchers else ():
        named = [m for m in every if m.name == label]
        if all(m.accepts("") or m.accepts(_UNHEARD_OF) for m in named):  # another label may tell the service
            return (*nobody, *services.services)
        for service in services.services:
            if any(all(m.accepts(word) for m in named) for word in (service.name, *service.aliases)):
                wanted.add(service.name)
    starts = nobody if playbook.model.schedule else ()
    return (*starts, *(s for s in services.services if s.name in wanted))


def _of_playbook(playbook: CompiledPlaybook, situation: _Situation) -> Iterator[_Use]:
    """Yield what a playbook does in a situation. Raises _ImpossibleError where it cannot be planned."""
    values = situation.values
    params = {p.name: _default(p, _Frame(values, {})) for p in playbook.params}
    frame = _Frame(values, params)
    yield from _steps(playbook, frame, playbook.name)
    for reaction in playbook.on_failure:
        yield from _besides(f"{playbook.name}: on_failure", reaction.action, reaction.with_.template, frame)
    for check in playbook.verify.checks if playbook.verify else ():
        yield from _besides(f"{playbook.name}: verify", check.check, check.with_.template, frame)


def _besides(who: str, user: AnyAction | AnyCheck, template: Template, frame: _Frame) -> Iterator[_Use]:
    """Yield what is no step of the plan: nothing is called with what has no value, and the rest goes on."""
    with contextlib.suppress(_ImpossibleError):
        yield _Use(f"{who} ({user.name})", user, _given(template, frame))


def _steps(playbook: CompiledPlaybook, frame: _Frame, who: str) -> Iterator[_Use]:
    for step in playbook.steps:
        if isinstance(step, CompiledStep):
            for inner in _entries(step.each, frame):
                yield _Use(f"{who}: {step.id} ({step.action.name})", step.action, _given(step.with_.template, inner))
        elif isinstance(step, CompiledCall):
            for inner in _entries(step.each, frame):
                yield from _steps(step.playbook, _called(step, inner), f"{who} > {step.playbook.name}")


def _entries(each: Each | None, frame: _Frame) -> Iterator[_Frame]:
    if each is None:
        yield frame
        return
    listed = _evaluated(each.template, frame)
    for item in listed if isinstance(listed, list | tuple) else (_UNKNOWN,):
        yield replace(frame, item=item)


def _called(call: CompiledCall, frame: _Frame) -> _Frame:
    """Return the frame of a called playbook: its params are what the call gives, else their defaults."""
    outside = _Frame(frame.values, {})
    given = {name: _evaluated(template, frame) for name, template in call.with_.items()}
    params = {
        p.name: _typed(p, given[p.name], outside) if p.name in given else _default(p, outside)
        for p in call.playbook.params
    }
    return _Frame(frame.values, params)


def _default(param: CompiledParam, frame: _Frame) -> object:
    if param.default is None:
        return _UNKNOWN
    value = _evaluated(param.default, frame)
    if value is None:
        raise _ImpossibleError
    return _typed(param, value, frame)


def _typed(param: CompiledParam, value: object, frame: _Frame) -> object:
    if value is _UNKNOWN:
        return _UNKNOWN
    try:
        return param.resolve(frame.values, {param.name: value})
    except InvalidInputError as error:
        raise _ImpossibleError from error


def _given(template: Template, frame: _Frame) -> dict[str, object]:
    """Return each parameter's value; of a mapping with unknown entries the known ones are kept."""
    return {name: _known_part(each, frame) for name, each in template.fields.items()}


def _known_part(template: Template, frame: _Frame) -> object:
    value = _evaluated(template, frame)
    if value is _UNKNOWN and template.fields:
        return {name: _known_part(each, frame) for name, each in template.fields.items()}
    return value


def _evaluated(template: Template, frame: _Frame) -> object:
    try:
        return frame.evaluate(template)
    except ExpressionError as error:
        raise _ImpossibleError from error


def _possible(use: _Use, situation: _Situation) -> Iterator[Parameters]:
    """Yield the parameters of a use, one for each value that those which are unknown may have."""
    model = use.user.parameters
    keys = {f.alias or name: name for name, f in model.model_fields.items()}
    known = {k: v for k, v in use.given.items() if not _has_unknown(v)}
    choices = {
        k: _choices(use.user.name, keys[k], model.model_fields[keys[k]].annotation, v, situation)
        for k, v in use.given.items()
        if k not in known and k in keys
    }
    open_ = {k for k, values in choices.items() if values is None}
    closed = {k: values for k, values in choices.items() if values is not None}
    for chosen in itertools.product(*closed.values()):
        try:
            yield partial_parameters(model, {**known, **dict(zip(closed, chosen, strict=True))}, open_)
        except ValidationError:  # such a step is refused when it is planned
            continue


def _choices(user: str, name: str, kind: Any, value: object, situation: _Situation) -> Sequence[object] | None:
    """Return the values that an unknown parameter may have as far as they matter for rights, None where any may be."""
    services, cluster = situation.services, situation.cluster
    if kind is Workload or Workload in get_args(kind):
        return _workloads(value, services, cluster or "")
    if name == NAMESPACE:
        return sorted(services.reach.namespaces)
    if name == CLUSTER:
        return [cluster] if cluster else None
    target = TARGET_KINDS.get(user.partition(".")[0])
    return sorted(services.reach.of(target)) if name == TARGET and target else None


def _workloads(value: object, services: ServiceCatalogue, cluster: str) -> list[object]:
    """Return the workloads that a partly known one may be: those of the catalogue, or one in every namespace."""
    catalogued = [w for s in services.services if (w := s.workload_in(cluster)) is not None]
    if not isinstance(value, Mapping):
        return list(dict.fromkeys(Workload(**{**w.model_dump(), "name": "any"}) for w in catalogued))
    kinds = sorted({w.kind for w in catalogued})
    parts = {
        "cluster": [cluster],
        "namespace": sorted(services.reach.namespaces),
        "kind": kinds,
        "name": ["any"],
    } | {k: [v] for k, v in value.items() if not _has_unknown(v)}
    return [dict(zip(parts, each, strict=True)) for each in itertools.product(*parts.values())]


def _has_unknown(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_unknown(each) for each in value.values())
    return value is _UNKNOWN


def _why(error: AttributeError) -> str:
    return f"its rights depend on {error.name or 'a parameter'!r}, which only a run knows"
