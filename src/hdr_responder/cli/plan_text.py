"""How a plan is shown: one list of labelled lines, plain where a program reads them, with colour on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from hdr_responder.cli.output import say, visible
from hdr_responder.cli.rehearsal import Rehearsal
from hdr_responder.cli.server_dry_run import DryRunView
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.wording import listed
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Mode, PlannedStep
from hdr_responder.engine.simulation import Forecast
from hdr_responder.records.presentation import one_line
from hdr_responder.records.views import View

_LABEL = 10
_LINE = 1000
_COLOURS = {True: "green", False: "red", None: "yellow"}


class PlannedIncidentView(View):
    """The incident that would be opened."""

    title: str
    cluster: str
    service: str
    problem: str
    priority: Priority
    priority_rule: str
    priority_reason: str
    alerts_firing: int


class OfflinePlanView(View):
    """A plan that was made without a database."""

    playbook: str
    digest: str
    summary: str
    mode: Mode
    mode_reason: str
    params: dict[str, JsonValue]
    steps: tuple[PlannedStep, ...]
    verify: tuple[str, ...]
    verdicts: tuple[Forecast, ...]
    """Of every guard, as far as it is known beforehand."""
    incident: PlannedIncidentView
    dry_run: tuple[DryRunView, ...] | None
    """What the targets said; null when they were not asked."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line with what it is about; ``good`` colours its first word: True, False, or None for not known yet."""

    label: str
    text: str
    word: str = ""
    good: bool | None = None


def plan_view(rehearsal: Rehearsal, dry_run: Sequence[DryRunView] | None) -> OfflinePlanView:
    """Return a plan for ``--json``."""
    plan = rehearsal.plan
    return OfflinePlanView(
        playbook=plan.playbook,
        digest=plan.digest,
        summary=plan.summary,
        mode=plan.mode,
        mode_reason=plan.mode_reason,
        params=plan.params,
        steps=plan.steps,
        verify=rehearsal.plan.verify,
        verdicts=rehearsal.forecasts,
        incident=PlannedIncidentView.model_validate(rehearsal.incident),
        dry_run=None if dry_run is None else tuple(dry_run),
    )


def print_plan(rehearsal: Rehearsal, playbook: CompiledPlaybook, dry_run: Sequence[DryRunView] | None) -> None:
    """Print a plan for people."""
    lines = [*_head(rehearsal), *_steps(rehearsal), *_guards(rehearsal), *_verify(rehearsal, playbook)]
    lines += _dry_run(dry_run or ())
    if sys.stdout.isatty():
        _print_rich(lines)
        return
    for line in lines:
        word = f"{line.word:<8} " if line.word else ""
        say(f"{line.label:<{_LABEL}} {word}{line.text}")


def _head(rehearsal: Rehearsal) -> Iterator[Line]:
    incident, made = rehearsal.incident, rehearsal.plan
    where = f" in cluster {incident.cluster}" if incident.cluster else ""
    yield Line("Incident", f"{one_line(incident.title)}{where}, {incident.alerts_firing} firing")
    rule = f"(rule {incident.priority_rule})"
    yield Line("Priority", f"{incident.priority}: {one_line(incident.priority_reason)} {rule}")
    yield Line("Playbook", f"{made.playbook}: {one_line(made.summary)} (version {made.digest[:12]})")
    yield Line("Mode", f"{made.mode}: {one_line(made.mode_reason)}")
    if made.params:
        yield Line("Params", one_line(listed(made.params), _LINE))


def _steps(rehearsal: Rehearsal) -> Iterator[Line]:
    for number, step in enumerate(rehearsal.plan.steps, start=1):
        beside = f" (at the same time as the others of {step.group})" if step.group else ""
        yield Line(f"Step {number}", f"{step.id}: {step.action}: {one_line(step.summary)}{beside}")
        yield from _step(step)


def _step(step: PlannedStep) -> Iterator[Line]:
    if step.when:
        yield Line("  when", one_line(step.when, _LINE))
    yield Line("  with", one_line(listed(step.parameters), _LINE))
    if step.awaits:
        yield Line("  awaits", f"{', '.join(step.awaits)}: known once the earlier steps have run")
    if step.target:
        yield Line(
            "  changes", f"{one_line(step.target.title)} (locks {step.target.key} against {step.target.effect_group})"
        )
    later = "rights that are known once the earlier steps have run" if step.awaits else "no rights"
    yield Line("  needs", "; ".join(step.permissions) or later)
    if step.mutates:
        yield Line("  undo", step.undo)


def _guards(rehearsal: Rehearsal) -> Iterator[Line]:
    width = max(len(f.guard) for f in rehearsal.forecasts)
    for number, found in enumerate(rehearsal.forecasts):
        word = {True: "allows", False: "refuses", None: "not yet"}[found.allowed]
        text = f"{found.guard:<{width}}  {one_line(found.reason)}"
        yield Line("" if number else "Guards", text, word, found.allowed)


def _verify(rehearsal: Rehearsal, playbook: CompiledPlaybook) -> Iterator[Line]:
    if playbook.verify is None:
        yield Line("Verified", "not at all: nothing is changed")
        return
    verify = playbook.verify
    within, hold = format_duration(verify.within), format_duration(verify.hold)
    yield Line("Verified", f"by {verify.need} of these within {within}, holding for {hold}")
    for text in rehearsal.plan.verify:
        yield Line("", one_line(text, _LINE))


def _dry_run(dry_run: Sequence[DryRunView]) -> Iterator[Line]:
    for number, found in enumerate(dry_run):
        word = "failed" if found.unreachable else {True: "ok", False: "refused", None: "not yet"}[found.ok]
        yield Line("" if number else "Dry run", f"{found.step}: {one_line(found.detail, _LINE)}", word, found.ok)


def _print_rich(lines: Sequence[Line]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        text = Text(visible(line.text))
        if line.word:
            text = Text.assemble((f"{line.word:<8} ", _COLOURS[line.good]), text)
        table.add_row(Text(line.label, style="dim" if line.label.startswith(" ") else "bold"), text)
    Console().print(table)
