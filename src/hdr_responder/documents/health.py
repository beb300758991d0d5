"""The health probes of the service catalogue: one check a service, which says whether others can rely on it now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from hdr_responder.actions.contract import AnyCheck, Parameters, Registry
from hdr_responder.documents.arguments import Arguments, compile_arguments
from hdr_responder.documents.expressions import Scope
from hdr_responder.documents.findings import Finding, unknown
from hdr_responder.documents.scope import IncidentValues, ScopeValues, base_scope
from hdr_responder.documents.services import Service, ServiceCatalogue
from hdr_responder.documents.source import Loc

_WORKLOAD = "service.workload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A service's probe, compiled."""

    service: Service
    check: AnyCheck
    with_: Arguments

    def parameters(self, cluster: str | None) -> Parameters:
        """Return the check's parameters for one cluster.

        Raises ExpressionError when they need the service's workload and no cluster is given.
        """
        nobody = IncidentValues(ref="", title="", service=None, priority="", cluster=cluster, problem="")
        return self.with_.resolve(ScopeValues(incident=nobody, service=self.service.values(cluster)).mapping())


def compile_probes(services: ServiceCatalogue, registry: Registry) -> tuple[dict[str, Probe], list[Finding]]:
    """Compile the probes of all services that declare one, by service; what is wrong with the others is returned."""
    probes: dict[str, Probe] = {}
    findings: list[Finding] = []
    for i, service in enumerate(services.services):
        if service.health is None:
            continue
        probe, wrong = _compile(service, service.health, ("services", i, "health"), registry)
        findings.extend(wrong)
        if probe and not wrong:
            probes[service.name] = probe
    return probes, findings


def _compile(
    service: Service, written: Mapping[str, JsonValue], at: Loc, registry: Registry
) -> tuple[Probe | None, list[Finding]]:
    name, given = next(iter(written.items()))
    loc = (*at, name)
    usable = {n: check for n, check in registry.checks.items() if check.is_health_probe}
    if name not in registry.checks:
        return None, [unknown(loc, "check", name, usable, at_key=True)]
    if name not in usable:
        message = f"check {name!r} is about an incident or a change and tells no service's health"
        return None, [Finding(loc=loc, message=message, value=name, at_key=True)]
    arguments, findings = compile_arguments(given, usable[name].parameters, _scope(service), loc)
    return (Probe(service=service, check=usable[name], with_=arguments) if arguments else None), findings


def _scope(service: Service) -> Scope:
    """Return what a probe may read: its own service, of which a workload only where it has one."""
    names = {name: kind for name, kind in base_scope().names.items() if name.startswith("service.")}
    return Scope(names={n: kind for n, kind in names.items() if service.workload or not n.startswith(_WORKLOAD)})
