"""What one document says against the others: names that nobody knows, and playbooks that get in each other's way.

Each check goes as far as the documents could be read, so that one look tells every mistake of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hdr_responder.documents.boundaries import TargetNames, unknown_targets, unlisted_places
from hdr_responder.documents.escalation import EscalationPolicy
from hdr_responder.documents.findings import Finding, unknown
from hdr_responder.documents.matching import texts
from hdr_responder.documents.playbook_document import ApproveStep, CallStep, Playbook
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.precedence import Precedence
from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.documents.source import Loc, Source
from hdr_responder.documents.strict import MatchList
from hdr_responder.documents.triage import Triage
from hdr_responder.domain.matchers import MatcherError, parse_matchers

Placed = tuple[Source, Finding]


@dataclass(frozen=True, slots=True)
class LoadedPlaybook:
    """A playbook with the place it came from; ``compiled`` None when it has mistakes."""

    source: Source
    model: Playbook
    compiled: CompiledPlaybook | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """All documents, each with its source; None where one could not be read."""

    services: tuple[Source, ServiceCatalogue] | None
    triage: tuple[Source, Triage] | None
    escalation: tuple[Source, EscalationPolicy] | None
    playbooks: Sequence[LoadedPlaybook]
    targets: TargetNames | None = None
    """What the settings know; None where they are not at hand."""


def cross_findings(loaded: Loaded) -> Iterator[Placed]:
    """Return what is wrong between the documents."""
    yield from _names_taken(loaded.playbooks)
    yield from _never_started(loaded.playbooks)
    yield from _never_chosen(loaded.playbooks)
    if loaded.services:
        yield from _unknown_services(loaded, loaded.services[1])
        yield from _out_of_bounds(loaded, *loaded.services)
    if loaded.escalation:
        yield from _unknown_groups(loaded, loaded.escalation[1])


def _names_taken(playbooks: Sequence[LoadedPlaybook]) -> Iterator[Placed]:
    names: dict[str, LoadedPlaybook] = {}
    for playbook in playbooks:
        name = playbook.model.metadata.name
        first = names.setdefault(name, playbook)
        if first is not playbook:
            place = f"{first.source.file}:{first.source.position(('metadata', 'name')).line}"
            message = f"playbook name is taken by {place}"
            yield playbook.source, Finding(loc=("metadata", "name"), message=message, value=name)


def _never_started(playbooks: Sequence[LoadedPlaybook]) -> Iterator[Placed]:
    called = {step.call for p in playbooks for step in p.model.steps if isinstance(step, CallStep)}
    for playbook in playbooks:
        model, name = playbook.model, playbook.model.metadata.name
        if not (model.match or model.schedule or model.manual or name in called):
            message = "nothing starts this playbook"
            expected = "match, schedule or manual, or a call in another playbook"
            yield playbook.source, Finding(loc=("metadata", "name"), message=message, value=name, expected=expected)


def _never_chosen(playbooks: Sequence[LoadedPlaybook]) -> Iterator[Placed]:
    """Of several playbooks for an alert the first is taken: one that never is first has a mistake."""
    order = Precedence()
    for playbook in playbooks:
        told = order.add(playbook.compiled) if playbook.compiled else None
        if told:
            yield playbook.source, Finding(loc=("match",), message=told, at_key=True)


def _unknown_services(loaded: Loaded, services: ServiceCatalogue) -> Iterator[Placed]:
    written: list[tuple[Source, MatchList, Loc]] = []
    if loaded.triage:
        source, triage = loaded.triage
        written = [(source, rule.match, ("rules", i, "match")) for i, rule in enumerate(triage.rules)]
    written += [(p.source, p.model.match, ("match",)) for p in loaded.playbooks if p.model.match]
    for source, match, at in written:
        for loc, text in texts(match, at):
            try:
                matchers = parse_matchers(text)
            except MatcherError:
                continue
            found = (services.check_matcher(matcher, loc) for matcher in matchers)
            yield from ((source, finding) for finding in found if finding)
    for playbook in loaded.playbooks:
        named = playbook.model.schedule.service if playbook.model.schedule else None
        if named is not None and services.by_name(named) is None:
            names = [service.name for service in services.services]
            yield playbook.source, unknown(("schedule", "service"), "service", named, names)


def _out_of_bounds(loaded: Loaded, source: Source, services: ServiceCatalogue) -> Iterator[Placed]:
    if loaded.targets:
        yield from ((source, finding) for finding in unknown_targets(services, loaded.targets))
    for playbook in loaded.playbooks:
        if playbook.compiled:
            yield from ((playbook.source, f) for f in unlisted_places(playbook.compiled, services.reach))


def _unknown_groups(loaded: Loaded, escalation: EscalationPolicy) -> Iterator[Placed]:
    if loaded.services:
        source, services = loaded.services
        for i, service in enumerate(services.services):
            if service.owner not in escalation.groups:
                yield source, unknown(("services", i, "owner"), "group", service.owner, escalation.groups)
    for playbook in loaded.playbooks:
        for at, group, approvers in _approvals(playbook.model):
            finding = _approval(at, group, approvers, escalation)
            if finding:
                yield playbook.source, finding


def _approvals(model: Playbook) -> Iterator[tuple[Loc, str | None, int]]:
    """Return the place, group and number of approvers of every approval that a playbook asks for."""
    rule = model.guards.approval
    yield ("guards", "approval"), rule.group, rule.approvers
    for i, step in enumerate(model.steps):
        if isinstance(step, ApproveStep):
            yield ("steps", i, "approve"), step.approve.group, step.approve.approvers


def _approval(at: Loc, group: str | None, approvers: int, escalation: EscalationPolicy) -> Finding | None:
    if group is None:
        return None
    if group not in escalation.groups:
        return unknown((*at, "group"), "group", group, escalation.groups)
    members = len(escalation.members(group))
    if approvers <= members:
        return None
    message = f"group {group!r} has {members} member{'s' if members > 1 else ''}, so nobody can ever approve"
    expected = f"at most {members}"
    return Finding(loc=(*at, "approvers"), message=message, value=str(approvers), expected=expected)
