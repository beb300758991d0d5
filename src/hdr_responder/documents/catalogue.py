"""Loads all documents as one whole: each is checked against the others, and every mistake is told at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from hdr_responder.actions.contract import Registry
from hdr_responder.documents.boundaries import TargetNames
from hdr_responder.documents.calendar import EMPTY, Calendar
from hdr_responder.documents.compiling import Library, compile_playbook
from hdr_responder.documents.cross_checks import Loaded, LoadedPlaybook, cross_findings
from hdr_responder.documents.escalation import EscalationPolicy
from hdr_responder.documents.findings import Finding, from_validation
from hdr_responder.documents.health import compile_probes
from hdr_responder.documents.playbook_document import Playbook
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.problems import DocumentError, Problem
from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.documents.soundness import soundness_findings
from hdr_responder.documents.source import Source, read_sources
from hdr_responder.documents.strict import Document
from hdr_responder.documents.timing import timing_findings
from hdr_responder.documents.triage import Triage
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


def load(config_dir: Path, playbooks_dir: Path, registry: Registry, targets: TargetNames | None = None) -> Documents:
    """Load the documents of one folder (calendar.yaml may be absent) and every playbook below another.

    Playbooks are in the order of their files' paths. With ``targets`` the services' databases and Redis servers are
    compared with what the settings know. Raises DocumentError with every problem of every file.
    """
    loader = _Loader(registry)
    services = loader.single(config_dir / SERVICES, ServiceCatalogue)
    triage = loader.single(config_dir / TRIAGE, Triage)
    escalation = loader.single(config_dir / ESCALATION, EscalationPolicy)
    has_calendar = (config_dir / CALENDAR).exists()
    calendar = loader.single(config_dir / CALENDAR, Calendar) if has_calendar else None
    playbooks = loader.playbooks(playbooks_dir)
    loader.cross_check(
        Loaded(services=services, triage=triage, escalation=escalation, playbooks=playbooks, targets=targets)
    )
    loader.check_times(calendar, has_calendar=has_calendar, services=services, playbooks=playbooks)
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
        if isinstance(document, ServiceCatalogue | Triage | EscalationPolicy | Calendar):
            for finding in document.findings():
                self._report(sources[0], finding)
        if isinstance(document, ServiceCatalogue):
            for finding in compile_probes(document, self.registry)[1]:
                self._report(sources[0], finding)
        return sources[0], document

    def playbooks(self, folder: Path) -> list[LoadedPlaybook]:
        """Read and compile every playbook below the folder."""
        if not folder.is_dir():
            self._top(folder, "is no folder; expected the playbooks there")
            return []
        files = sorted(p for p in folder.rglob("*") if p.suffix in (".yaml", ".yml") and p.is_file())
        if len(files) > MAX_PLAYBOOKS:
            self._top(folder, f"holds more than {MAX_PLAYBOOKS} files")
        sources = [s for path in files[:MAX_PLAYBOOKS] for s in self._sources(path)]
        written = [(s, model) for s in sources if (model := self._document(s, Playbook))]
        library = Library({model.metadata.name: model for _, model in reversed(written)}, self.registry)
        return [self._playbook(source, model, library) for source, model in written]

    def cross_check(self, loaded: Loaded) -> None:
        """Check what one document says against the others, as far as they could be read."""
        for source, finding in cross_findings(loaded):
            self._report(source, finding)

    def check_times(
        self,
        calendar: tuple[Source, Calendar] | None,
        *,
        has_calendar: bool,
        services: tuple[Source, ServiceCatalogue] | None,
        playbooks: Sequence[LoadedPlaybook],
    ) -> None:
        """Check the calendar's services, and the playbooks' schedules and windows, as far as they could be read."""
        if calendar and services:
            for finding in calendar[1].unknown_services(s.name for s in services[1].services):
                self._report(calendar[0], finding)
        present = calendar[1] if calendar else None if has_calendar else EMPTY
        for playbook in playbooks:
            for finding in timing_findings(playbook.model, present):
                self._report(playbook.source, finding)

    def _sources(self, path: Path) -> list[Source]:
        sources, problems = read_sources(path)
        self.problems.extend(problems)
        self._read.extend(source.data for source in sources)
        return sources

    def _playbook(self, source: Source, model: Playbook, library: Library) -> LoadedPlaybook:
        compiled, findings = compile_playbook(model, library)
        for finding in (*findings, *soundness_findings(model, compiled)):
            self._report(source, finding)
        return LoadedPlaybook(source, model, compiled)

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


def _kind(model: type[Document]) -> str:
    return str(model.model_fields["kind"].annotation.__args__[0])  # type: ignore[union-attr]
