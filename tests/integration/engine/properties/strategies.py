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
    "approve", "deny", "cancel", "acknowledge", "resolve", "request", "command", "pause", "resume", "hold", "release"
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
    service=st.sampled_from(SERVICES),
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
    times = draw(st.sampled_from([1, 1, 1, 2, 3] if kind in ONE_BY_ONE else [1] * 8 + [2, ALWAYS]))
    return Fault(point=point, kind=kind, times=times)


some_faults = st.sampled_from([0, 0, 1, 1, 2]).flatmap(lambda n: st.lists(faults(), min_size=n, max_size=n))

_CELL = st.sampled_from([*CELLS * 6, *["${params.cell}"] * 16, "missing"])
_VALUE = st.integers(1, 4)
_BUDGETS = st.fixed_dictionaries(
    {"runs": st.sampled_from([1, 2, 2, 3, 3]), "per": st.sampled_from(["10m", "1h", "1d"])}
)
_RETRY = st.none() | st.fixed_dictionaries({"attempts": st.integers(1, 3), "delay": st.just("1s")})


@st.composite
def _conditions(draw: st.DrawFn, earlier: int) -> str | None:
    """Return a condition; the last of them has no value for our alerts, which is an error."""
    choices = ["true", "true", "false", "params.cell == 'a'", "alert.labels['unheard_of'] == 'x'"]
    choices += [f"steps.s{i}.{outcome}" for i in range(earlier) for outcome in ("ok", "failed", "skipped")]
    return draw(st.sampled_from([*[None] * 4 * len(choices), *choices]))


@st.composite
def _steps(draw: st.DrawFn, position: int) -> dict[str, Any]:
    action = draw(st.sampled_from(["cell.set", "cell.set", "cell.set_blind", "cell.look"]))
    step: dict[str, Any] = {"id": f"s{position}", "action": action, "with": {"cell": draw(_CELL)}}
    step["on_error"] = draw(st.sampled_from(["fail", "fail", "continue", "undo"]))
    optional = {"when": draw(_conditions(position)), "retry": draw(_RETRY)}
    if action != "cell.look":
        step["with"]["value"] = draw(_VALUE)
    if action == "cell.set_blind":
        step["undo"] = "none"
    if action == "cell.set":
        optional |= draw(st.sampled_from([{}, {}, {"undo": "none"}, {"for": "10m"}, {"for": "2h"}]))
    return step | {k: v for k, v in optional.items() if v is not None}


@st.composite
def _rules(draw: st.DrawFn) -> dict[str, Any]:
    """Return a ``guards`` section that says everything itself, so that defaults that change do not change the tests."""
    patient, strict = {"after": 20, "person_after": 50}, {"after": 1, "pause": "5m", "person_after": 3}
    return {
        "mode": draw(st.sampled_from(["auto"] * 12 + ["approve"] * 2 + ["observe"])),
        "cooldown": draw(st.sampled_from(["0s", "0s", "0s", "5m", "1h"])),
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
    wanted = [s["with"] for s in steps if s["action"] != "cell.look" and s["with"]["cell"] != "missing"]
    anything = st.fixed_dictionaries({"cell": st.sampled_from(CELLS), "value": _VALUE})
    looked_at = st.sampled_from(wanted[-1:] * 3 + wanted) | anything if wanted else anything
    need = draw(st.sampled_from(["all", "any"]))
    within, hold = draw(st.sampled_from([("1m", "0s"), ("1m", "0s"), ("1m", "10s"), ("10m", "2m")]))
    checks = draw(st.lists(looked_at, min_size=1, max_size=2))
    return {"within": within, "hold": hold, need: [{"cell.is": c} for c in checks]}


@st.composite
def _playbooks(draw: st.DrawFn, name: str, match: str) -> dict[str, Any]:
    steps = [draw(_steps(i)) for i in range(draw(st.integers(1, 4)))]
    return default_playbook(
        metadata={"name": name, "summary": "Sets cells."},
        match=[match],
        guards=draw(_rules()),
        steps=steps,
        verify=draw(_verify(steps)),
        on_failure=draw(st.sampled_from([[], [{"action": "incident.escalate"}]])),
        undo=draw(st.sampled_from(["on_failure", "on_failure", "never"])),
    )


PLAYBOOKS = ("on-cells", "on-services")
playbooks = st.tuples(
    _playbooks(PLAYBOOKS[0], 'alertname = "HdrCell"'), _playbooks(PLAYBOOKS[1], 'alertname = "HdrServiceDown"')
)
"""Two documents: the alerts of the first are P2 or P3 by severity, those of the second P1."""
