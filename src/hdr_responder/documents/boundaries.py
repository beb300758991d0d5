"""Finds what documents literally name and nothing may touch: places that no service of the catalogue lists.

A value that only a run knows (a label's, an earlier step's) is judged by the guard ``protected`` and, in the end, where
requests leave. What stands written is told when the documents are checked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hdr_responder.actions.contract import AnyAction, AnyCheck
from hdr_responder.actions.places import places_in
from hdr_responder.documents.compiled import CompiledCall, CompiledStep
from hdr_responder.documents.expressions import WORKLOAD
from hdr_responder.documents.findings import Finding, unknown
from hdr_responder.documents.params import CompiledParam
from hdr_responder.documents.playbook_document import ParallelStep, Param
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.documents.source import Loc
from hdr_responder.documents.strict import workload_from
from hdr_responder.documents.templates import Template
from hdr_responder.domain.reach import CATALOGUE, Place, Reach


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetNames:
    """The systems that settings name under ``targets``."""

    databases: frozenset[str]
    caches: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Use:
    """What is given to an action or a check, and where that stands."""

    at: Loc
    user: AnyAction | AnyCheck
    template: Template


@dataclass(frozen=True, slots=True)
class _Value:
    """A value that stands written, with the parameter of an action or a check that it is given to."""

    at: Loc
    user: AnyAction | AnyCheck
    name: str
    value: object


def unknown_targets(services: ServiceCatalogue, targets: TargetNames) -> Iterator[Finding]:
    """Return the databases and Redis servers of services that the settings do not know."""
    for i, service in enumerate(services.services):
        for key, names, known in (
            ("databases", service.databases, targets.databases),
            ("caches", service.caches, targets.caches),
        ):
            section = {"databases": "targets.postgres entry", "caches": "targets.redis entry"}[key]
            for j, name in enumerate(names):
                if name not in known:
                    yield unknown(("services", i, key, j), section, name, known)


def unlisted_places(playbook: CompiledPlaybook, reach: Reach) -> Iterator[Finding]:
    """Return what a playbook literally names that is not listed, each at its place."""
    told: set[tuple[Loc, Place]] = set()
    named = ((each.at, place) for each in _values(playbook) for place in _places(each))
    for at, place in (*named, *_workloads(playbook)):
        if not reach.has(place) and (at, place) not in told:
            told.add((at, place))
            yield _finding(place, at, reach)


def _values(playbook: CompiledPlaybook) -> Iterator[_Value]:
    """Yield what stands written: in a parameter itself, as the default of a param, or given by a call to one."""
    params = {param.name: param for param in playbook.params}
    for use in _uses(playbook):
        for name, template in use.template.fields.items():
            param = params.get(_param_of(template))
            if template.is_static:
                yield _Value((*use.at, name), use.user, name, template.source)
            elif param is not None and param.default is not None and param.default.is_static:
                yield _Value(_default_at(playbook, param), use.user, name, param.default.source)
    for at, call in _calls(playbook):
        for use in _uses(call.playbook):
            for name, template in use.template.fields.items():
                given = call.with_.get(_param_of(template))
                if given is not None and given.is_static:
                    yield _Value((*at, _param_of(template)), use.user, name, given.source)


def _uses(playbook: CompiledPlaybook) -> Iterator[_Use]:
    """Yield its own steps that are actions, its reactions and its checks."""
    for at, written in _places_of_steps(playbook):
        step = playbook.find(written)
        if isinstance(step, CompiledStep):
            yield _Use((*at, "with"), step.action, step.with_.template)
    for i, reaction in enumerate(playbook.on_failure):
        yield _Use(("on_failure", i, "with"), reaction.action, reaction.with_.template)
    if playbook.verify:
        for i, check in enumerate(playbook.verify.checks):
            yield _Use(("verify", playbook.verify.need, i, check.name), check.check, check.with_.template)


def _calls(playbook: CompiledPlaybook) -> Iterator[tuple[Loc, CompiledCall]]:
    for at, written in _places_of_steps(playbook):
        step = playbook.find(written)
        if isinstance(step, CompiledCall):
            yield (*at, "with"), step


def _places_of_steps(playbook: CompiledPlaybook) -> Iterator[tuple[Loc, str]]:
    for i, step in enumerate(playbook.model.steps):
        if isinstance(step, ParallelStep):
            yield from ((("steps", i, "parallel", j), inner.id) for j, inner in enumerate(step.parallel))
        else:
            yield ("steps", i), step.id


def _param_of(template: Template) -> str:
    """Return the param that a template gives as it is, empty where it gives anything else."""
    only = next(iter(template.names)) if len(template.names) == 1 else ""
    root, _, name = only.partition(".")
    return name if root == "params" and template.source == f"${{{only}}}" else ""


def _default_at(playbook: CompiledPlaybook, param: CompiledParam) -> Loc:
    declared = isinstance(playbook.model.params[param.name], Param)
    return ("params", param.name, "default") if declared else ("params", param.name)


def _places(written: _Value) -> Iterator[Place]:
    for name, each in _leaves(written.name, written.value):
        yield from places_in(written.user.name, name, each)


def _leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield the texts of a written value, each with the key that it stands under."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(str(key), each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(name, each)
    else:
        yield name, value


def _workloads(playbook: CompiledPlaybook) -> Iterator[tuple[Loc, Place]]:
    """Yield the namespaces of workloads that are written as texts: they may have one in front."""
    texts = [(_default_at(playbook, p), p.type, p.default.source) for p in playbook.params if p.default is not None]
    for at, call in _calls(playbook):
        types = {param.name: param.type for param in call.playbook.params}
        texts += [((*at, name), types.get(name, ""), given.source) for name, given in call.with_.items()]
    for at, kind, text in texts:
        if kind == WORKLOAD and isinstance(text, str) and text.count("/") == 2:
            with contextlib.suppress(ValueError):  # what is no workload is told elsewhere
                workload = workload_from(text, cluster="any", namespace="any")
                yield at, Place(kind="namespace", name=workload.namespace)


def _finding(place: Place, at: Loc, reach: Reach) -> Finding:
    known = ", ".join(sorted(reach.of(place.kind))) or "none"
    message = f"no service lists this {place.kind}, so it may not be touched"
    return Finding(loc=at, message=message, value=place.name, expected=f"one that {CATALOGUE} lists: {known}")
