"""What a playbook would do about an alert: offline, always the same for the same input, and changing nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import JsonValue

from hdr_responder.cli.check import ConfigDir, PlaybooksDir, overlaid
from hdr_responder.cli.output import note, print_json, say
from hdr_responder.cli.parameters import Json
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import PlannedStep
from hdr_responder.errors import InvalidInputError, PermanentError
from hdr_responder.records.presentation import one_line
from hdr_responder.records.views import PlanView, View, plan_view

if TYPE_CHECKING:
    from hdr_responder.cli.rehearsal import Rehearsal
    from hdr_responder.documents.playbooks import CompiledPlaybook

_LINE = 1000


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


class OfflinePlanView(PlanView):
    """A plan that was made without a database."""

    playbook: str
    incident: PlannedIncidentView


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plan)


def plan(
    *,
    playbook: Annotated[str, typer.Argument(help="The playbook's name.")],
    alert: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, metavar="FILE", help="What Alertmanager delivers, as JSON.")
    ],
    config: ConfigDir = None,
    playbooks: PlaybooksDir = None,
    as_json: Json = False,
) -> None:
    """Print what a playbook would do about an alert: steps, targets, rights, undo, verification and mode."""
    from hdr_responder.app.documents import load_documents
    from hdr_responder.cli.rehearsal import rehearse
    from hdr_responder.settings import load_settings

    settings = load_settings(environ=overlaid(os.environ, config, playbooks))
    documents = load_documents(settings)
    compiled = documents.playbook(playbook)
    try:
        rehearsal = rehearse(settings, documents, compiled, _read(alert))
    except InvalidInputError as error:
        raise PermanentError(f"{alert}: {error}") from error
    for bad in rehearsal.bad:
        note(f"{alert}: {bad.field}: {bad.problem}; this alert is left out")
    if rehearsal.others:
        note(f"The plan is for the first incident; {rehearsal.others} more would get one of their own.")
    if as_json:
        print_json(_view(rehearsal))
    else:
        _print(rehearsal, compiled)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from error


def _view(rehearsal: Rehearsal) -> OfflinePlanView:
    return OfflinePlanView(
        **dict(plan_view(rehearsal.plan)),
        playbook=rehearsal.plan.playbook,
        incident=PlannedIncidentView.model_validate(rehearsal.incident),
    )


def _print(rehearsal: Rehearsal, playbook: CompiledPlaybook) -> None:
    incident, made = rehearsal.incident, rehearsal.plan
    where = f" in cluster {incident.cluster}" if incident.cluster else ""
    say(f"Incident   {one_line(incident.title)}{where}, {incident.alerts_firing} firing")
    say(f"Priority   {incident.priority}: {one_line(incident.priority_reason)} (rule {incident.priority_rule})")
    say(f"Playbook   {made.playbook}: {one_line(made.summary)} (version {made.digest[:12]})")
    say(f"Mode       {made.mode}: {one_line(made.mode_reason)}")
    if made.params:
        say(f"Params     {_listed(made.params)}")
    for number, step in enumerate(made.steps, start=1):
        _print_step(number, step)
    if playbook.verify is None:
        say("Verified   not at all: nothing is changed")
        return
    verify = playbook.verify
    within, hold = format_duration(verify.within), format_duration(verify.hold)
    say(f"Verified   by {verify.need} of these within {within}, holding for {hold}")
    for line in made.verify:
        say(f"           {one_line(line, _LINE)}")


def _print_step(number: int, step: PlannedStep) -> None:
    say(f"Step {number}     {step.id}: {step.action}: {one_line(step.summary)}")
    if step.when:
        say(f"  when     {one_line(step.when, _LINE)}")
    say(f"  with     {_listed(step.parameters)}")
    if step.awaits:
        say(f"  awaits   {', '.join(step.awaits)}: known once the earlier steps have run")
    if step.target:
        say(f"  changes  {one_line(step.target.title)} (locks {step.target.key} against {step.target.effect_group})")
    say(f"  needs    {'; '.join(step.permissions) or _no_rights(step)}")
    if step.mutates:
        say(f"  undo     {step.undo}")


def _no_rights(step: PlannedStep) -> str:
    return "rights that are known once the earlier steps have run" if step.awaits else "no rights"


def _listed(values: Mapping[str, JsonValue]) -> str:
    shown = (f"{k}={v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)}" for k, v in values.items())
    return one_line(", ".join(shown), _LINE) or "nothing"
