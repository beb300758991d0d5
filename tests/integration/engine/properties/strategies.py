"""What a random world is made of: playbooks as authors might write them, alerts, faults and the doings of people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from hypothesis import strategies as st

from tests.integration.engine.cells import Point
from tests.integration.engine.cells import playbook as default_playbook

CELLS = ("a", "b", "c")
SERVICES = ("neural-hdr", "redis", "strange")
"""Two that the shipped catalogue knows and one that it does not."""
PEOPLE = ("oncall@example.com", "secondary@example.com", "mallory@example.com")
"""Two members of the shipped group ``sre``, and a stranger."""
GROUP = "sre"
POINTS: tuple[Point, ...] = get_args(Point)

FaultKind = Literal[
    "dies",
    "freezes",
    "drains",
    "temporary",
    "permanent",
    "lost_answer",
    "no_answer",
    "defect",
    "somebody_sets",
    "pauses",
    "cancels",
]
_NOT_AFTER_THE_EFFECT = frozenset({"temporary", "permanent"})
"""With these two an action promises that nothing was changed, so it cannot fail so once it was."""
STOPS: tuple[FaultKind, ...] = ("dies", "freezes", "drains")
ONE_BY_ONE = frozenset({*STOPS, "pauses", "cancels"})
ALWAYS = 99


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as Prometheus knows it."""

    name: str
    cell: str
    service: str
    severity: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at a point of a step, so many times from now on."""

    point: Point
    kind: FaultKind
    times: int


@dataclass(frozen=True, slots=True)
class Hands:
    """Who works: how many jobs at a time, each on another worker, and each job ``copies`` times (at least once!)."""

    at_once: int
    copies: int
    jobs: int
    """When this many are done the workers stop, as before a crash between two jobs."""


MANY = 400
"""More jobs than any example has."""

alerts = st.builds(
    Alert,
    name=st.sampled_from(["HdrCell", "HdrCell", "HdrServiceDown"]),
    cell=st.sampled_from(CELLS),
    service=st.sampled_from(SERVICES),
    severity=st.sampled_from(["critical", "warning"]),
)

some_alerts = st.lists(alerts, min_size=1, max_size=3)

hands = st.one_of(
    st.just(Hands(at_once=1, copies=1, jobs=MANY)),
    st.just(Hands(at_once=3, copies=1, jobs=MANY)),
    st.just(Hands(at_once=2, copies=2, jobs=MANY)),
    st.builds(Hands, at_once=st.integers(1, 3), copies=st.just(1), jobs=st.integers(1, 8)),
)

DeedName = Literal[
    "approve",
    "deny",
    "cancel",
    "undo",
    "acknowledge",
    "resolve",
    "request",
    "command",
    "pause",
    "resume",
    "hold",
    "release",
]


@dataclass(frozen=True, slots=True)
class Deed:
    """What a person does; ``pick`` chooses the run or incident that it is done to, the newest for 0."""

    name: DeedName
    pick: int
    by: str
    service: str


deeds = st.builds(
    Deed,
    name=st.sampled_from([*["approve"] * 3, "cancel", "pause", "pause", "hold", *get_args(DeedName)]),
    pick=st.integers(0, 5),
    by=st.sampled_from(PEOPLE),
    service=st.sampled_from(SERVICES[:2]),
)

jumps = st.sampled_from([1, 5, 5, 30, 30, 61, 61, 301, 601, 1801, 3601, 86_400, 8 * 86_400])
"""Seconds."""


_LIKELY_POINTS: tuple[Point, ...] = (*POINTS, *3 * ("claim", "capture", "before_effect", "after_effect"))
_LIKELY_KINDS = (*get_args(FaultKind), *2 * STOPS, "pauses", "pauses")


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    point = draw(st.sampled_from(_LIKELY_POINTS))
    kinds = [k for k in _LIKELY_KINDS if point != "after_effect" or k not in _NOT_AFTER_THE_EFFECT]
    kind = draw(st.sampled_from(kinds))
    times = draw(st.sampled_from([1, 1, 1, 2, 3] if kind in ONE_BY_ONE else [1] * 9 + [ALWAYS]))
    return Fault(point=point, kind=kind, times=times)


some_faults = st.sampled_from([0, 1, 1, 2]).flatmap(lambda n: st.lists(faults(), min_size=n, max_size=n))

_SEEN = (*CELLS, "${params.cell}")
_CELL = st.sampled_from([*CELLS * 6, *["${params.cell}"] * 16, "missing"])
_VALUE = st.integers(1, 4)
_BUDGETS = st.fixed_dictionaries(
    {"runs": st.sampled_from([1, 2, 2, 3, 3]), "per": st.sampled_from(["10m", "1h", "1d"])}
)
_RETRY = st.none() | st.fixed_dictionaries({"attempts": st.integers(1, 3), "delay": st.just("1s")})


@st.composite
def _conditions(draw: st.DrawFn, earlier: list[str]) -> str | None:
    """Return a condition; the last of them has no value for our alerts, which is an error."""
    choices = ["true", "true", "false", "params.cell == 'a'", "alert.labels['unheard_of'] == 'x'"]
    choices += [f"steps.{name}.{outcome}" for name in earlier for outcome in ("ok", "failed", "skipped")]
    return draw(st.sampled_from([*[None] * 4 * len(choices), *choices]))


@st.composite
def _changes(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Return a step that changes one cell, or each of some."""
    step: dict[str, Any] = {"id": name, "action": draw(st.sampled_from(["cell.set", "cell.set_blind"]))}
    if draw(st.sampled_from([False] * 7 + [True])):
        step |= {"for_each": list(CELLS[:2]), "with": {"cell": "${item}"}}
    else:
        step["with"] = {"cell": draw(_CELL)}
    step["with"]["value"] = draw(_VALUE)
    if step["action"] == "cell.set_blind":
        return step | {"undo": "none"}
    return step | draw(st.sampled_from([{}, {}, {}, {"undo": "none"}, {"for": "10m"}, {"for": "2h"}]))


def _look(name: str, cell: str) -> dict[str, Any]:
    return {"id": name, "action": "cell.look", "with": {"cell": cell}}


_KINDS = ("change",) * 12 + ("look", "look", "wait", "approve", "parallel", "call")


@st.composite
def _steps(draw: st.DrawFn, name: str, earlier: list[str]) -> dict[str, Any]:
    condition = draw(_conditions(earlier))
    when = {"when": condition} if condition else {}
    kind = draw(st.sampled_from(_KINDS))
    if kind == "wait":
        return {"id": name, "wait": draw(st.sampled_from(["30s", "10m"]))} | when
    if kind == "approve":
        approvers, expires = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from(["10m", "30m"]))
        return {"id": name, "approve": {"message": "Go on?", "approvers": approvers, "expires": expires}} | when
    if kind == "parallel":
        return {"id": name, "parallel": [_look(f"{name}_a", "a"), _look(f"{name}_b", draw(_CELL))]} | when
    on_error = {"on_error": draw(st.sampled_from(["fail", "fail", "continue", "undo"]))}
    if kind == "call":
        each = draw(st.sampled_from([{}, {"for_each": list(CELLS[:2]), "with": {"cell": "${item}"}}]))
        return {"id": name, "call": CALLED, "with": {"cell": draw(_CELL)}} | each | on_error | when
    retry = draw(_RETRY)
    step = _look(name, draw(_CELL)) if kind == "look" else draw(_changes(name))
    return step | on_error | when | ({"retry": retry} if retry else {})


@st.composite
def _rules(draw: st.DrawFn) -> dict[str, Any]:
    """Return a ``guards`` section that says everything itself, so that defaults that change do not change the tests."""
    patient, strict = {"after": 20, "person_after": 50}, {"after": 1, "pause": "5m", "person_after": 3}
    return {
        "mode": draw(st.sampled_from(["auto"] * 14 + ["approve"] * 2 + ["observe"])),
        "cooldown": draw(st.sampled_from(["0s"] * 6 + ["5m", "1h"])),
        "budget": draw(_BUDGETS),
        "playbook_budget": draw(st.none() | st.none() | _BUDGETS),
        "approval": {
            "required_for": draw(st.sampled_from([*[[]] * 6, ["P1"], ["P2"]])),
            "group": draw(st.sampled_from([None, None, GROUP])),
            "approvers": draw(st.sampled_from([1, 1, 2])),
            "expires": draw(st.sampled_from(["10m", "30m"])),
        },
        "breaker": draw(st.sampled_from([patient, patient, patient, strict])),
        "autonomy": {"floor": draw(st.sampled_from(["0%", "0%", "0%", "50%"])), "of_last": 10, "at_least": 2},
        "max_age": "10m",
    }


@st.composite
def _verify(draw: st.DrawFn, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return checks that hold when the steps were done, or others."""
    wanted = [s["with"] for s in steps if s.get("action", "cell.look") != "cell.look" and s["with"]["cell"] in _SEEN]
    anything = st.fixed_dictionaries({"cell": st.sampled_from(CELLS), "value": _VALUE})
    looked_at = st.sampled_from(wanted[-1:] * 3 + wanted) | anything if wanted else anything
    need = draw(st.sampled_from(["all", "any"]))
    within, hold = draw(st.sampled_from([("1m", "0s"), ("1m", "0s"), ("1m", "10s"), ("10m", "2m")]))
    checks = draw(st.lists(looked_at, min_size=1, max_size=2))
    return {"within": within, "hold": hold, need: [{"cell.is": c} for c in checks]}


@st.composite
def _playbooks(draw: st.DrawFn, name: str, match: str) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    names: list[str] = []
    for position in range(draw(st.integers(1, 4))):
        steps.append(draw(_steps(f"s{position}", names)))
        names += [inner["id"] for inner in steps[-1].get("parallel", [steps[-1]])]
    return default_playbook(
        metadata={"name": name, "summary": "Sets cells."},
        match=[match],
        guards=draw(_rules()),
        steps=steps,
        verify=draw(_verify(steps)),
        on_failure=draw(st.sampled_from([[], [{"action": "incident.escalate"}]])),
        undo=draw(st.sampled_from(["on_failure", "on_failure", "never"])),
        if_resolved=draw(st.sampled_from(["stop", "stop", "finish"])),
    )


PLAYBOOKS = ("on-cells", "on-services")
CALLED = "called"


@st.composite
def playbooks(draw: st.DrawFn) -> tuple[dict[str, Any], ...]:
    """Two documents that alerts start, those of the first P2 or P3 by severity and those of the second P1, and a third
    that both may call."""
    called = default_playbook(
        metadata={"name": CALLED, "summary": "Is called."},
        params={"cell": {"type": "string"}},
        steps=[draw(_changes("set")), _look("see", "${params.cell}")],
    )
    del called["match"], called["priorities"]
    first = draw(_playbooks(PLAYBOOKS[0], 'alertname = "HdrCell"'))
    return first, draw(_playbooks(PLAYBOOKS[1], 'alertname = "HdrServiceDown"')), called
