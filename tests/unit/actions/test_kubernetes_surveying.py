"""What a step would take away of a workload, by the numbers of Kubernetes' own controllers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from hdr_responder.actions.kubernetes.marks import HOLD, parse_hold
from hdr_responder.actions.kubernetes.surveying import all_healthy, restart_impact, surveyed
from hdr_responder.domain.survey import GitOpsOwner, HoldNote, Impact
from tests.unit.actions.test_kubernetes_decisions import meta, state


@pytest.mark.parametrize(
    ("kind", "changes", "taken"),
    [
        ("deployment", {"max_unavailable": "25%", "max_surge": "25%"}, 0),
        ("deployment", {"desired": 4, "available": 4, "max_unavailable": "25%", "max_surge": "25%"}, 1),
        ("deployment", {"desired": 10, "available": 10}, 2),
        ("deployment", {"max_unavailable": "34%", "max_surge": 0}, 1),
        ("deployment", {"max_unavailable": 0, "max_surge": 0}, 1),
        ("deployment", {"max_unavailable": "10%", "max_surge": "0%"}, 1),
        ("deployment", {"max_unavailable": 2, "max_surge": 1}, 2),
        ("deployment", {"max_unavailable": 9, "max_surge": 0}, 3),
        ("deployment", {"available": 2, "max_unavailable": 1, "max_surge": 0}, 0),
        ("deployment", {"available": 1, "max_unavailable": 3, "max_surge": 0}, 1),
        ("deployment", {"update_strategy": "Recreate"}, 3),
        ("deployment", {"update_strategy": "Recreate", "available": 2}, 2),
        ("deployment", {"desired": 0, "available": 0, "max_unavailable": 1, "max_surge": 0}, 0),
        ("statefulset", {}, 1),
        ("statefulset", {"available": 2}, 1),
        ("statefulset", {"max_unavailable": 2}, 2),
        ("statefulset", {"max_unavailable": "50%"}, 2),
        ("statefulset", {"partition": 3}, 0),
        ("statefulset", {"partition": 1, "max_unavailable": 3}, 2),
        ("statefulset", {"update_strategy": "OnDelete"}, 0),
        ("daemonset", {}, 1),
        ("daemonset", {"max_unavailable": "34%"}, 2),
        ("daemonset", {"max_unavailable": 2, "available": 2}, 1),
        ("daemonset", {"max_unavailable": 0, "max_surge": 1}, 0),
        ("daemonset", {"update_strategy": "OnDelete"}, 0),
    ],
)
def test_a_restart_takes_what_its_strategy_allows(kind: Any, changes: dict[str, Any], taken: int) -> None:
    seen = state(**changes)
    assert restart_impact(kind, seen) == Impact(unavailable=taken, healthy=seen.available)


def test_healthy_replicas_bound_what_can_be_taken() -> None:
    assert Impact(unavailable=5, healthy=2).taken == 2
    assert all_healthy(state(available=2)).taken == 2


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("disk is moved", HoldNote(reason="disk is moved")),
        ("", HoldNote(reason="")),
        ("2026-11-24T06:30:00Z", HoldNote(reason="", until=datetime(2026, 11, 24, 6, 30, tzinfo=UTC))),
        (
            "2026-11-24T07:30:00+01:00 disk is moved",
            HoldNote(reason="disk is moved", until=datetime(2026, 11, 24, 6, 30, tzinfo=UTC)),
        ),
        ("2026-11-24T06:30:00 no zone", HoldNote(reason="2026-11-24T06:30:00 no zone")),
        ("2026-11-24", HoldNote(reason="2026-11-24")),
    ],
)
def test_a_hold_is_read(text: str, note: HoldNote) -> None:
    assert parse_hold(text) == note
    assert surveyed(state(meta=meta(annotations={HOLD: text}))).hold == note


def test_a_hold_ends_at_its_time() -> None:
    until = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
    assert HoldNote(reason="").holds_at(until)
    assert not HoldNote(reason="", until=until).holds_at(until)
    assert HoldNote(reason="", until=until).holds_at(until.replace(minute=29))


def test_what_is_not_tracked_stays() -> None:
    owned, free = meta(gitops="Argo CD application video"), meta(uid="uid-2")
    assert surveyed(state()).owner is None
    assert surveyed(state(meta=owned)).owner == GitOpsOwner(name="Argo CD application video", reverts=False)
    assert surveyed(state(meta=owned), changes=free).owner == GitOpsOwner(
        name="Argo CD application video", reverts=False
    )
    assert surveyed(state(), changes=owned).owner == GitOpsOwner(name="Argo CD application video", reverts=True)
