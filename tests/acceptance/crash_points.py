"""Every point of a six-step run at which its worker may end: what holds it there, and what is true then.

A point is a state of the records and of the cluster together. It is reached exactly, never by timing: a call to the API
server is held at the gate, on its way or its answer, or a commit is held in the database. A commit is held only once
the run waits at the gate just before it, so that no lease runs out while other runs are still on their way.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from hdr_responder.actions.kubernetes.marks import FENCE, UNDONE
from tests.services.api_gate import ApiCall, Hold, Match

STEPS = ("logs", "more", "rolled", "restart", "isolate", "evidence")
EFFECTS = {"more": ("scaled",), "restart": ("restarted",), "isolate": ("policy made", "isolated")}
UNDO_EFFECTS = ("policy deleted", "scaled back")
TOLD = {"more": "Scaled", "restart": "Restarted", "isolate": "Isolated"}
"""The reason of the Event that tells of each change."""
UNDO_TOLD = ("Released", "ScalingUndone")

HELPS = "SixSteps"
IN_VAIN = "SixStepsInVain"

What = Literal["request", "answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is recorded of a run, and which effects the cluster has, at one moment."""

    run: str | None
    steps: int = 0
    """Steps whose outcome is recorded."""
    begun: bool = False
    """Whether the start of the next step, a change, is recorded."""
    undone: int = 0
    effects: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    """The reasons of the Events that tell of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """A call of one workload's run, held as ``what``."""

    call: str
    what: What


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point. ``at`` is held at the gate; where there is a ``commit``, that is held next and is the point.

    ``telling`` is the call that writes an Event, between the two: then that is the point. It is given up after some
    seconds, and the commit is what keeps the run there: neither the records nor the cluster change by that.
    """

    name: str
    seen: Seen | None
    """None where the run goes on meanwhile."""
    at: At | None = None
    telling: At | None = None
    commit: str | None = None
    untold: frozenset[str] = frozenset()
    """Events that are never written after it: a policy that is gone does not say whether this step deleted it."""
    alert: str = HELPS
    often: bool = True
    """Whether it is covered by default, or by the long profile alone."""


def whole_effect(alert: str) -> Counter[str]:
    """Return every effect that the playbook of this alert has in the end, each once."""
    return Counter((*_effects_before(None), *(UNDO_EFFECTS if alert == IN_VAIN else ())))


def whole_tale(alert: str) -> Counter[str]:
    """Return the reason of every Event that tells of them, each once."""
    return Counter((*_told_before(None), *(UNDO_TOLD if alert == IN_VAIN else ())))


def hold_of(at: At, workload: str) -> Hold:
    """Return what holds this call of this workload's run."""
    after = {"rolled": "told Scaled", "evidence": "told Isolated"}.get(at.call)
    return Hold(what=at.what, match=call_of(at.call, workload), after=call_of(after, workload) if after else None)


def call_of(name: str, workload: str) -> Match:
    """Return what tells a call of a run from all others of its workload."""
    deployment, policy = rf".*/deployments/{workload}", rf".*/networkpolicies/hdr-isolate-{workload}-[0-9a-f]{{12}}"
    pod_log, policies = rf".*/pods/{workload}-[^/]+/log", r".*/networkpolicies"
    fence = FENCE.replace("/", "~1")
    if name.startswith("told "):
        return _told_of(workload, name.removeprefix("told "))
    known = {
        "logs": _call("GET", pod_log),
        "evidence": _call("GET", pod_log),
        "rolled": _call("GET", deployment),
        "more rehearsed": _call("PATCH", deployment, "/spec/replicas", dry_run=True),
        "more claimed": _call("PATCH", deployment, fence, without="/spec/"),
        "scaled": _call("PATCH", deployment, "/spec/replicas", without=UNDONE.replace("/", "~1")),
        "restart rehearsed": _call("PATCH", deployment, "restartedAt", dry_run=True),
        "restarted": _call("PATCH", deployment, "restartedAt"),
        "isolate rehearsed": _call("POST", policies, f"hdr-isolate-{workload}-", dry_run=True),
        "isolate claimed": _call("POST", policies, f"hdr-isolate-{workload}-"),
        "isolated": _call("PATCH", policy, '"/spec"'),
        "policy deleted": _call("DELETE", policy),
        "scaled back": _call("PATCH", deployment, UNDONE.replace("/", "~1")),
    }
    return known[name]


def _call(method: str, path: str, text: str = "", *, dry_run: bool = False, without: str = "\0") -> Match:
    def matches(call: ApiCall) -> bool:
        return (
            call.method == method
            and call.dry_run is dry_run
            and re.fullmatch(path, call.path) is not None
            and text in call.body
            and without not in call.body
        )

    return matches


def _told_of(workload: str, reason: str) -> Match:
    def matches(call: ApiCall) -> bool:
        if call.method != "POST" or call.dry_run or not call.path.endswith("/events"):
            return False
        event = json.loads(call.body)
        return bool(event["involvedObject"]["name"] == workload and event["reason"] == reason)

    return matches


def points() -> tuple[Point, ...]:
    """Return all points, in the order of a run."""
    return (
        Point(name="delivered, not taken in", seen=Seen(run=None), commit="incident:opened"),
        Point(name="opened, not planned", seen=Seen(run=None), commit="run:planned"),
        Point(name="planned, not started", seen=Seen(run="held"), commit="run:running"),
        Point(
            name="told, which is not recorded",
            seen=None,
            at=At(call="logs", what="answer"),
            commit="notification:sent",
        ),
        *(point for step in STEPS for point in _of_step(step)),
        *_of_verification(),
        *_of_undo(),
    )


def _of_step(step: str) -> Iterator[Point]:
    before = Seen(run="running", steps=STEPS.index(step), effects=_effects_before(step), told=_told_before(step))
    if step not in EFFECTS:
        yield Point(name=f"before {step}", seen=before, at=At(call=step, what="request"))
        yield Point(name=f"within {step}", seen=before, at=At(call=step, what="answer"), often=False)
        yield _uncommitted(step, before, at=At(call=step, what="answer"))
        return
    *made, effect = EFFECTS[step]
    rehearsed = At(call=f"{step} rehearsed", what="answer")
    begun = replace(before, begun=True)
    claimed = replace(begun, effects=(*before.effects, *made))
    done = replace(claimed, effects=(*claimed.effects, effect))
    yield Point(name=f"before {step}", seen=before, at=At(call=f"{step} rehearsed", what="request"))
    yield Point(name=f"{step}, not begun", seen=before, at=rehearsed, commit=f"{step}:started", often=False)
    if step != "restart":  # the run holds the fence of that target already
        yield Point(name=f"{step}, no fence", seen=begun, at=At(call=f"{step} claimed", what="request"), often=False)
        yield Point(name=f"{step}, fence", seen=claimed, at=At(call=f"{step} claimed", what="answer"), often=False)
    yield Point(name=f"{step}, not captured", seen=claimed, at=rehearsed, commit=f"{step}:captured", often=False)
    yield Point(name=f"{step} is sent", seen=claimed, at=At(call=effect, what="request"))
    yield Point(name=f"{step} is done", seen=done, at=At(call=effect, what="answer"))
    uncommitted = _uncommitted(step, replace(done, told=(*done.told, TOLD[step])), at=At(call=effect, what="answer"))
    yield from _of_telling(step, done, uncommitted)
    yield uncommitted


def _of_telling(change: str, before: Seen, uncommitted: Point) -> Iterator[Point]:
    """Return the points at which a change is done, and the Event on its way or just written."""
    assert uncommitted.seen is not None
    told = f"told {uncommitted.seen.told[-1]}"
    sent, written = At(call=told, what="request"), At(call=told, what="answer")
    yield replace(uncommitted, name=f"{change} is being told", seen=before, telling=sent)
    yield replace(uncommitted, name=f"{change} is told", telling=written, often=False)


def _uncommitted(step: str, seen: Seen, *, at: At) -> Point:
    return Point(name=f"{step}, not recorded", seen=seen, at=at, commit=f"{step}:succeeded")


def _of_verification() -> Iterator[Point]:
    at = At(call="evidence", what="answer")
    done = Seen(run="running", steps=len(STEPS), effects=_effects_before(None), told=_told_before(None))
    yield Point(name="done, not verifying", seen=done, at=at, commit="run:verifying")
    verifying = replace(done, run="verifying")
    yield Point(name="verifying", seen=verifying, at=at, commit="run:looked")
    yield Point(name="verified, not recorded", seen=verifying, at=at, commit="run:completed")
    yield Point(name="in vain, not recorded", seen=verifying, at=at, commit="run:failed", alert=IN_VAIN)


def _of_undo() -> Iterator[Point]:
    seen = Seen(run="failed", steps=len(STEPS), effects=_effects_before(None), told=_told_before(None))
    for step, effect, reason in zip(("isolate", "more"), UNDO_EFFECTS, UNDO_TOLD, strict=True):
        untold = frozenset({reason}) if step == "isolate" else frozenset()
        yield Point(name=f"undo of {step} is sent", seen=seen, at=At(call=effect, what="request"), alert=IN_VAIN)
        done = replace(seen, effects=(*seen.effects, effect))
        at = At(call=effect, what="answer")
        yield Point(name=f"undo of {step} is done", seen=done, at=at, untold=untold, alert=IN_VAIN)
        told = replace(done, told=(*done.told, reason))
        commit = f"{step}:undone"
        uncommitted = Point(name=f"undo of {step}, not recorded", seen=told, at=at, commit=commit, alert=IN_VAIN)
        sent, written = _of_telling(f"undo of {step}", done, uncommitted)
        yield replace(sent, untold=untold)
        yield written
        yield uncommitted
        seen = replace(told, undone=told.undone + 1)


def _told_before(step: str | None) -> tuple[str, ...]:
    earlier = STEPS[: STEPS.index(step)] if step else STEPS
    return tuple(TOLD[each] for each in earlier if each in TOLD)


def _effects_before(step: str | None) -> tuple[str, ...]:
    earlier = STEPS[: STEPS.index(step)] if step else STEPS
    return tuple(effect for each in earlier for effect in EFFECTS.get(each, ()))
