"""Loads all documents as one whole: each is checked against the others, and every mistake is told at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from hdr_responder.actions.contract import Registry
from hdr_responder.documents.calendar import EMPTY, Calendar
from hdr_responder.documents.escalation import EscalationPolicy
from hdr_responder.documents.findings import Finding, from_validation, unknown
from hdr_responder.documents.playbook_document import Playbook
from hdr_responder.documents.playbooks import CompiledPlaybook, compile_playbook
from hdr_responder.documents.problems import DocumentError, Problem
from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.documents.source import Loc, Source, read_sources
from hdr_responder.documents.strict import Document, MatchList
from hdr_responder.documents.triage import Triage
from hdr_responder.domain.matchers import MatcherError, MatcherSet, parse_matchers
from hdr_responder.errors import NotFoundError

SERVICES, TRIAGE, ESCALATION, CALENDAR = "services.yaml", "triage.yaml", "escalation.yaml", "calendar.yaml"
MAX_PLAYBOOKS = 5_000

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Everything that people wrote; ``digest`` changes when any of it does."""

    playbooks: tuple[CompiledPlaybook, ...]
    services: ServiceCatalogue
    triage: Triage
    escalation: EscalationPolicy
    calendar: Calendar
    digest: str

    def playbook(self, name: str) -> CompiledPlaybook:
        """Return the playbook of this name. Raises NotFoundError."""
        found = next((p for p in self.playbooks if p.name == name), None)
        if found is None:
            known = ", ".join(p.name for p in self.playbooks) or "none"
            raise NotFoundError(f"no playbook is named {name!r} (known: {known})")
        return found


def load(config_dir: Path, playbooks_dir: Path, registry: Registry) -> Documents:
    """Load the documents of one folder (calendar.yaml may be absent) and every playbook below another.

    Playbooks are in the order of their files' paths. Raises DocumentError with every problem of every file.
    """
    loader = _Loader(registry)
    services = loader.single(config_dir / SERVICES, ServiceCatalogue)
    triage = loader.single(config_dir / TRIAGE, Triage)
    escalation = loader.single(config_dir / ESCALATION, EscalationPolicy)
    has_calendar = (config_dir / CALENDAR).exists()
    calendar = loader.single(config_dir / CALENDAR, Calendar) if has_calendar else None
    playbooks = loader.playbooks(playbooks_dir)
    loader.cross_check(services, triage, escalation, playbooks)
    if loader.problems or services is None or triage is None or escalation is None:
        raise DocumentError(loader.problems)
    return Documents(
        playbooks=tuple(p.compiled for p in playbooks if p.compiled),
        services=services[1],
        triage=triage[1],
        escalation=escalation[1],
        calendar=calendar[1] if calendar else EMPTY,
        digest=loader.digest(),
    )


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A playbook with the place it came from; ``compiled`` None when it has mistakes."""

    source: Source
    model: Playbook
    compiled: CompiledPlaybook | None


class _Loader:
    """Collects problems over all files."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.problems: list[Problem] = []
        self._read: list[object] = []

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self._read, sort_keys=True).encode()).hexdigest()

    def single(self, path: Path, model: type[D]) -> tuple[Source, D] | None:
        """Read a file that must hold one document of one kind."""
        sources = self._sources(path)
        if len(sources) > 1:
            self._report(sources[1], Finding(loc=(), message=f"{path.name} holds one document, this is another"))
        if not sources:
            if not any(p.file == str(path) for p in self.problems):
                self._top(path, f"is empty; expected a document of kind {_kind(model)}")
            return None
        document = self._document(sources[0], model)
        if document is None:
            return None
        if isinstance(document, ServiceCatalogue | Triage | EscalationPolicy):
            for finding in document.findings():
                self._report(sources[0], finding)
        return sources[0], document

    def playbooks(self, folder: Path) -> list[_Loaded]:
        """Read and compile every playbook below the folder."""
        if not folder.is_dir():
            self._top(folder, "is no folder; expected the playbooks there")
            return []
        files = sorted(p for p in folder.rglob("*") if p.suffix in (".yaml", ".yml") and p.is_file())
        if len(files) > MAX_PLAYBOOKS:
            self._top(folder, f"holds more than {MAX_PLAYBOOKS} files")
        loaded = [self._playbook(s) for path in files[:MAX_PLAYBOOKS] for s in self._sources(path)]
        return [p for p in loaded if p]

    def cross_check(
        self,
        services: tuple[Source, ServiceCatalogue] | None,
        triage: tuple[Source, Triage] | None,
        escalation: tuple[Source, EscalationPolicy] | None,
        playbooks: Sequence[_Loaded],
    ) -> None:
        """Check what one document says against the others, as far as they could be read."""
        self._twins(playbooks)
        if services:
            if triage:
                for i, rule in enumerate(triage[1].rules):
                    self._matchers(triage[0], rule.match, ("rules", i, "match"), services[1])
            for playbook in playbooks:
                self._matchers(playbook.source, playbook.model.match or (), ("match",), services[1])
        if escalation:
            groups = escalation[1].groups
            for i, service in enumerate(services[1].services if services else ()):
                if services and service.owner not in groups:
                    self._report(services[0], unknown(("services", i, "owner"), "group", service.owner, groups))
            for playbook in playbooks:
                group = playbook.model.guards.approval.group
                if group is not None and group not in groups:
                    self._report(playbook.source, unknown(("guards", "approval", "group"), "group", group, groups))

    def _twins(self, playbooks: Sequence[_Loaded]) -> None:
        names: dict[str, _Loaded] = {}
        for playbook in playbooks:
            name = playbook.model.metadata.name
            if name in names:
                other = names[name].source
                place = f"{other.file}:{other.position(('metadata', 'name')).line}"
                finding = Finding(loc=("metadata", "name"), message=f"playbook name is taken by {place}", value=name)
                self._report(playbook.source, finding)
            names.setdefault(name, playbook)
        triggers: dict[object, _Loaded] = {}
        for playbook in playbooks:
            if playbook.compiled is None or playbook.compiled.matchers is None:
                continue
            twin = triggers.setdefault(_trigger(playbook.model, playbook.compiled.matchers), playbook)
            if twin is not playbook:
                message = f"matches the same alerts as playbook {twin.model.metadata.name!r}; only the first would run"
                self._report(playbook.source, Finding(loc=("match",), message=message, at_key=True))

    def _matchers(self, source: Source, written: MatchList, at: Loc, services: ServiceCatalogue) -> None:
        for loc, text in _texts(written, at):
            try:
                matchers = parse_matchers(text)
            except MatcherError:
                continue
            for matcher in matchers:
                finding = services.check_matcher(matcher, loc)
                if finding:
                    self._report(source, finding)

    def _sources(self, path: Path) -> list[Source]:
        sources, problems = read_sources(path)
        self.problems.extend(problems)
        self._read.extend(source.data for source in sources)
        return sources

    def _playbook(self, source: Source) -> _Loaded | None:
        model = self._document(source, Playbook)
        if model is None:
            return None
        compiled, findings = compile_playbook(model, self.registry)
        for finding in findings:
            self._report(source, finding)
        return _Loaded(source, model, compiled)

    def _document(self, source: Source, model: type[D]) -> D | None:
        if not isinstance(source.data, dict):
            self._report(source, Finding(loc=(), message=f"expected a mapping of kind {_kind(model)}"))
            return None
        try:
            return model.model_validate(source.data)
        except ValidationError as e:
            for finding in from_validation(e, model, source.data):
                self._report(source, finding)
            return None

    def _report(self, source: Source, finding: Finding) -> None:
        self.problems.append(finding.problem(source))

    def _top(self, path: Path, message: str) -> None:
        self.problems.append(Problem(file=str(path), line=1, column=1, message=message))


def _trigger(model: Playbook, matchers: MatcherSet) -> object:
    """Return what decides whether a playbook is chosen, equal for playbooks that are chosen for the same alerts."""
    matched = frozenset(frozenset(every) for every in matchers.alternatives)
    return matched, frozenset(model.priorities or ()), frozenset(model.environments or ())


def _texts(written: MatchList, at: Loc) -> Iterator[tuple[Loc, str]]:
    for i, entry in enumerate(written):
        if isinstance(entry, str):
            yield (*at, i), entry
        else:
            yield from (((*at, i, j), text) for j, text in enumerate(entry))


def _kind(model: type[Document]) -> str:
    return str(model.model_fields["kind"].annotation.__args__[0])  # type: ignore[union-attr]
