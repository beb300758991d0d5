"""What must hold, whatever happens: each promise is a function over the records and what the world really did.

A function gives a text for every breach. Those of ``ALWAYS`` hold after every step, those of ``IN_THE_END`` once
everything has had its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hdr_responder.documents.guard_rules import Budget, Guards
from hdr_responder.engine import guards
from tests.integration.engine.properties.strategies import GROUP, PEOPLE
from tests.integration.engine.properties.witness import EntryRow, IncidentRow, Recorded, RunRow
from tests.unit.docs.markdown import ROOT, rows, section

ACTIVE = frozenset({"running", "verifying"})
WAITING = frozenset({"held", "awaiting_approval"})
OPEN = frozenset({"triggered", "acknowledged", "mitigated"})
NEEDS_PERSON = frozenset({"failed", "ambiguous", "expired"})
UNDONE_AT_ONCE = frozenset({"failed", "expired", "denied"})
PAGING = frozenset({"P1", "P2"})
STARTS = frozenset({"run_started", "step_started"})
REFUSALS = ("guard_refused", "approval_asked")
MEMBERS = frozenset(PEOPLE[:2])
PLAYBOOK_BUDGET = any("playbook" in g.__name__ for g in guards.GUARDS)


def _documented(heading: str) -> frozenset[tuple[str | None, str]]:
    """Return the moves that a table of docs/states.md lists; the first column is empty for a beginning."""
    told = [[cell.strip("`") for cell in row[:2]] for row in rows(section(ROOT / "docs/states.md", heading))]
    return frozenset((before or None, after) for before, after in told)


MOVES = {
    "runs": _documented("Moves of runs"),
    "steps": _documented("Moves of steps") | {(None, "pending")},
    "incidents": _documented("Incidents"),
    "leases": frozenset(),
}
"""A lease that a live worker holds is never taken."""


@dataclass(frozen=True, slots=True)
class HeldService:
    """A person kept automation away from a service between these times."""

    service: str
    since: float
    until: float


@dataclass(slots=True)
class World:
    """What really happened, told by whoever did it."""

    firing: set[str] = field(default_factory=set)
    """Fingerprints of the alerts that fire and that a delivery said so of."""
    paused_after: int | None = None
    """The newest timeline entry when `pause` returned; None while automation is not paused."""
    holds: list[HeldService] = field(default_factory=list)
    disturbed: bool = False
    """Somebody else changed a cell, or something kept a change from being taken back at its time."""
    told: tuple[EntryRow, ...] = ()
    """The timeline when it was last read."""


Check = Callable[[Recorded, World], Iterator[str]]


def effect_is_recorded_first(seen: Recorded, _: World) -> Iterator[str]:
    """No effect without a committed started record of its step, told on the timeline."""
    for effect in seen.effects:
        if effect.kind == "set" and (effect.step_status != "started" or effect.step_entries != 1):
            yield f"{effect} happened to a step that was not recorded as started"
        if effect.kind == "set" and effect.run_status != "running":
            yield f"{effect} happened although its run was {effect.run_status}"
        if effect.kind == "undo" and effect.run_status in ACTIVE | WAITING:
            yield f"{effect} happened before its run had ended"


def effect_is_locked(seen: Recorded, _: World) -> Iterator[str]:
    """A target is changed only by the run that holds it."""
    yield from (f"{e} happened without the target's lock" for e in seen.effects if not e.holds_lock)


def effect_happens_once(seen: Recorded, _: World) -> Iterator[str]:
    """A step changes its target once, and is taken back once."""
    counts = Counter((e.step_key, e.kind) for e in seen.effects)
    yield from (f"{kind} of {key} happened {n} times" for (key, kind), n in counts.items() if n > 1)


def undo_restores(seen: Recorded, _: World) -> Iterator[str]:
    """What was set is what was planned, and what was taken back is what was captured."""
    steps = {s.key: s for s in seen.steps}
    for effect in seen.effects:
        step = steps[effect.step_key]
        wanted = step.parameters["value"] if effect.kind == "set" else (step.state or {}).get("value", "nothing")
        if effect.value_after != wanted:
            yield f"{effect} should have left {wanted}"
    undone = {e.step_key for e in seen.effects if e.kind == "undo"}
    for step in seen.steps:
        if step.undone == "undone" and step.key not in undone:
            yield f"{step} is said to be undone and is not"


def drifts_are_real(seen: Recorded, world: World) -> Iterator[str]:
    """Where nobody else changed anything, what a run did last is taken back first, and nothing has drifted."""
    if world.disturbed:
        return
    runs = {r.id: r for r in seen.runs}
    changed = {e.step_key: place for place, e in enumerate(seen.effects) if e.kind == "set"}
    undone = {e.step_key for e in seen.effects if e.kind == "undo"}
    for step in seen.steps:
        if step.undone != "drifted" or step.key not in changed or runs[step.run_id].status not in UNDONE_AT_ONCE:
            continue
        cell = seen.effects[changed[step.key]].cell
        later = {e.step_key for e in seen.effects[changed[step.key] + 1 :] if e.cell == cell and e.kind == "set"}
        if later <= undone:
            yield f"{step} is said to have drifted, and nobody changed it since but {later}"


def budgets_hold(seen: Recorded, _: World) -> Iterator[str]:
    """Every start found its target's and its playbook's budget unspent, whoever else started just then."""
    starts = _starts(seen)
    for place, (run, at) in enumerate(starts):
        rules, before = _rules(run), starts[:place]
        for target in run.targets:
            spent = [t for r, t in before if target in r.targets]
            if _over(rules.budget, spent, at):
                yield f"{run.id} started on {target} at {at} over {rules.budget}: {spent}"
        spent = [t for r, t in before if r.playbook == run.playbook]
        if rules.playbook_budget and PLAYBOOK_BUDGET and _over(rules.playbook_budget, spent, at):
            yield f"{run.id} of {run.playbook} started at {at} over {rules.playbook_budget}: {spent}"


def targets_rest(seen: Recorded, _: World) -> Iterator[str]:
    """A target rests from a run's end to the next one's start."""
    for run, at in _starts(seen):
        rest = _rules(run).cooldown.total_seconds()
        for other in seen.runs:
            shared = other.id != run.id and other.started_at is not None and set(run.targets) & set(other.targets)
            if shared and other.ended_at is not None and other.ended_at < at < other.ended_at + rest:
                yield f"{run.id} started at {at}, {other.id} had ended at {other.ended_at}, rest {rest}"


def one_run_per_target(seen: Recorded, _: World) -> Iterator[str]:
    """Two runs never work on one target, and each that works, or stands midway, or has to take its changes back, holds
    all its targets."""
    counts = Counter(t for r in seen.runs if r.status in ACTIVE for t in set(r.targets))
    yield from (f"{n} active runs on {target}" for target, n in counts.items() if n > 1)
    for run in seen.runs:
        midway = run.status in ACTIVE or (run.status in WAITING and run.started_at is not None)
        undoes = (
            run.status == "failed" and run.undoes and not seen.entries_of(run, "undo_forced") and _undoes(seen, run)
        )
        if (midway or undoes) and not {*run.targets} <= {*run.locks}:
            yield f"{run.id} is {run.status} and holds only {run.locks}"


def moves_are_documented(seen: Recorded, _: World) -> Iterator[str]:
    """Runs, steps and incidents move as docs/states.md says, and leases are waited for."""
    for move in seen.moves:
        if (move.before, move.after) not in MOVES[move.kind]:
            yield f"{move.kind} {move.key}: {move.before} --> {move.after} is not documented"


def refusals_are_recorded(seen: Recorded, _: World) -> Iterator[str]:
    """A run that is held was told with the guards that hold it."""
    for run in seen.runs:
        refused = {v.guard for v in run.verdicts if not v.allowed}
        told = [set(e.guards) for e in seen.entries_of(run, *REFUSALS)]
        if refused and run.status != "observed" and refused not in told:
            yield f"{run.id} was refused by {refused}, told was {told}"


def nothing_starts_while_paused(seen: Recorded, world: World) -> Iterator[str]:
    """Once pause has returned, no run and no step starts."""
    if world.paused_after is not None:
        new = [e for e in seen.entries if e.id > world.paused_after and e.kind in STARTS]
        yield from (f"{e} although automation is paused" for e in new)


def nothing_starts_on_a_held_service(seen: Recorded, world: World) -> Iterator[str]:
    for run, at in _starts(seen):
        service = seen.incident(run.incident_id).service
        for hold in world.holds:
            if hold.service == service and hold.since < at < hold.until:
                yield f"{run.id} started at {at} although {hold}"


def approvals_are_awaited(seen: Recorded, _: World) -> Iterator[str]:
    """What needs people's word has it, from enough of those who may give it; observing starts nothing."""
    for run, _at in _starts(seen):
        agreed = run.approvers()
        if run.mode == "approve" and len(agreed) < _rules(run).approval.approvers:
            yield f"{run.id} started with the approval of {agreed}"
        if run.mode == "observe":
            yield f"{run.id} was to observe and started"
        urgent = run.destructive and seen.incident(run.incident_id).priority == "P1"
        if urgent and run.requested_by and agreed <= {run.requested_by}:
            yield f"{run.id} is destructive at P1 and started by the word of {run.requested_by} alone"
    for run in seen.runs:
        strangers = {a.person for a in run.approvals if a.decision == "approve"} - MEMBERS
        if _rules(run).approval.group == GROUP and strangers:
            yield f"{run.id} was approved by strangers: {strangers}"
    runs = {r.id: r for r in seen.runs}
    for step in seen.steps:
        if step.asked is not None and step.status == "succeeded":
            agreed = runs[step.run_id].approvers(step.step_id)
            if len(agreed) < step.asked:
                yield f"{step} was passed by the word of {agreed}"


def people_are_told(seen: Recorded, _: World) -> Iterator[str]:
    """What needs a person is escalated, and pages where its priority does."""
    for run in seen.runs:
        if run.status in NEEDS_PERSON or run.verification in {"failed", "inconclusive"}:
            planned = seen.entries_of(run, "planned")[0]
            if not _escalations(seen, run.incident_id, after=planned.id):
                yield f"{run.id} is {run.status} ({run.verification}) and nobody was told"
        for step in seen.steps_of(run):
            if step.undone is not None and step.undone not in {"undone", "nothing_to_undo"}:
                told = [e for e in seen.entries_of(run, "undone") if f"step {step.step_id}:" in e.summary]
                if not told or not _escalations(seen, run.incident_id, after=told[-1].id):
                    yield f"{step} was not taken back and nobody was told"
    for incident in seen.incidents:
        if incident.status in OPEN and incident.priority in PAGING and not incident.paged and _needed(seen, incident):
            yield f"{incident} was escalated and nobody was paged"


def no_alert_is_lost(seen: Recorded, world: World) -> Iterator[str]:
    """Each alert that fires belongs to an incident, open unless a person said that it is over."""
    if strange := {*seen.deliveries} - {"received", "processed"}:
        yield f"deliveries were {strange}"
    if "received" in seen.deliveries:
        return
    incidents = {a.fingerprint: a.incident_id for a in seen.alerts if a.status == "firing"}
    for fingerprint in sorted(world.firing):
        if fingerprint not in incidents:
            yield f"alert {fingerprint} fires and is not known"
        else:
            incident = seen.incident(incidents[fingerprint])
            if incident.status not in OPEN and incident.resolved_by is None:
                yield f"alert {fingerprint} fires and its {incident} is over"


def timeline_only_grows(seen: Recorded, world: World) -> Iterator[str]:
    """What was told stays as it was told, in the order of time."""
    if seen.entries[: len(world.told)] != world.told:
        yield "the timeline was changed"
    latest: dict[int, float] = {}
    for entry in seen.entries:
        if entry.at < latest.get(entry.incident_id, 0.0):
            yield f"{entry} was told after later ones"
        latest[entry.incident_id] = entry.at


def every_run_ends(seen: Recorded, _: World) -> Iterator[str]:
    for run in seen.runs:
        if run.status in ACTIVE | WAITING:
            yield f"{run.id} is still {run.status}: {run.reason}"
        elif run.locks:
            yield f"{run.id} is {run.status} and still holds {run.locks}"


def every_change_is_settled(seen: Recorded, _: World) -> Iterator[str]:
    """Each step that began has an outcome, and what is to be taken back is, or is told."""
    for step in seen.steps:
        if step.status == "started":
            yield f"{step} has no outcome"
    for run in seen.runs:
        if _undoes(seen, run):
            yield f"{run.id} is {run.status} and its changes were never taken back"


def every_incident_is_planned(seen: Recorded, world: World) -> Iterator[str]:
    """Each open incident whose alerts fire was planned, or it says why not."""
    answered = {e.incident_id for e in seen.entries if e.kind in {"planned", "not_planned"}}
    for incident in seen.incidents:
        fired = any(a.incident_id == incident.id and a.fingerprint in world.firing for a in seen.alerts)
        if fired and incident.status in OPEN and incident.id not in answered:
            yield f"{incident} was never planned"


ALWAYS: tuple[Check, ...] = (
    effect_is_recorded_first,
    effect_is_locked,
    effect_happens_once,
    undo_restores,
    drifts_are_real,
    budgets_hold,
    targets_rest,
    one_run_per_target,
    moves_are_documented,
    refusals_are_recorded,
    nothing_starts_while_paused,
    nothing_starts_on_a_held_service,
    approvals_are_awaited,
    people_are_told,
    no_alert_is_lost,
    timeline_only_grows,
)
IN_THE_END: tuple[Check, ...] = (every_run_ends, every_change_is_settled, every_incident_is_planned)


def breaches(checks: tuple[Check, ...], seen: Recorded, world: World) -> list[str]:
    """Return every breach with the name of its promise."""
    return [f"{check.__name__}: {text}" for check in checks for text in check(seen, world)]


def _starts(seen: Recorded) -> list[tuple[RunRow, float]]:
    """Return the runs that started with their times, in the order in which they did."""
    runs = {r.id: r for r in seen.runs}
    first: dict[str, float] = {}
    for entry in seen.entries:
        if entry.kind == "run_started" and entry.run_id is not None:
            first.setdefault(entry.run_id, entry.at)
    return [(runs[run_id], at) for run_id, at in first.items()]


def _undoes(seen: Recorded, run: RunRow) -> bool:
    return any(s.undo_due and s.state is not None and s.undone is None for s in seen.steps_of(run))


def _rules(run: RunRow) -> Guards:
    return Guards.model_validate(run.rules)


def _over(budget: Budget, spent: list[float], at: float) -> bool:
    return len([t for t in spent if t > at - budget.per.total_seconds()]) >= budget.runs


def _escalations(seen: Recorded, incident_id: int, *, after: int) -> list[EntryRow]:
    return [e for e in seen.entries if e.incident_id == incident_id and e.kind == "escalated" and e.id > after]


def _needed(seen: Recorded, incident: IncidentRow) -> bool:
    """Tell whether a person was asked for in the incident's present episode."""
    news = [e for e in seen.entries if e.incident_id == incident.id and e.kind in {"reopened", "priority", "escalated"}]
    return bool(news) and news[-1].kind == "escalated"
