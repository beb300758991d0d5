"""Any order of arrival ends in the same occurrences (Alertmanager contract rules 3, 4, 7, 8)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdr_responder.domain.alerts import (
    AlertEvent,
    AlertStatus,
    EventKind,
    History,
    Occurrence,
    Presence,
    correlation,
)

START = datetime(2026, 11, 24, 5, 55, tzinfo=UTC)
LATE = timedelta(minutes=5)


def firing(start: int, received: int = 0) -> AlertEvent:
    return _event(AlertStatus.FIRING, start, None, received)


def resolved(start: int, end: int, received: int = 0) -> AlertEvent:
    return _event(AlertStatus.RESOLVED, start, end, received)


def _event(status: AlertStatus, start: int, end: int | None, received: int) -> AlertEvent:
    return AlertEvent(
        source="default",
        fingerprint="f",
        status=status,
        labels={"alertname": "A"},
        annotations={},
        starts_at=START + timedelta(seconds=start),
        ends_at=None if end is None else START + timedelta(seconds=end),
        received_at=START + timedelta(hours=1, seconds=received),
    )


def history_of(events: Sequence[AlertEvent], presence: Presence = Presence.UNKNOWN) -> History:
    history = History(late_window=LATE)
    for event in events:
        history.apply(event, presence)
    return history


def outline(history: History) -> set[tuple[str, int, int | None]]:
    return {(o.status, _seconds(o.starts_at), _seconds(o.ends_at) if o.ends_at else None) for o in history.occurrences}


def _seconds(at: datetime) -> int:
    return round((at - START).total_seconds())


EPISODES = (firing(12), resolved(12, 31), firing(38))


@given(st.permutations(EPISODES + EPISODES))
def test_doubled_and_shuffled_messages_end_in_the_same_occurrences(events: list[AlertEvent]) -> None:
    assert outline(history_of(events)) == {("resolved", 12, 31), ("firing", 38, None)}


@st.composite
def episodes(draw: st.DrawFn) -> list[AlertEvent]:
    """Non-overlapping episodes of one alert, each with its resolve, the last one maybe without."""
    count = draw(st.integers(1, 5))
    marks = sorted(draw(st.sets(st.integers(0, 1000), min_size=2 * count, max_size=2 * count)))
    pairs = list(zip(marks[::2], marks[1::2], strict=True))
    events = [e for start, end in pairs for e in (firing(start), resolved(start, end))]
    return events[:-1] if draw(st.booleans()) else events


@given(episodes(), st.data())
def test_any_order_of_episodes_is_the_same_history(events: list[AlertEvent], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(events))
    assert outline(history_of(shuffled)) == outline(history_of(events))


def test_a_repeat_does_not_open_a_second_occurrence() -> None:
    history = history_of([firing(12), firing(12, received=60), firing(12, received=120)])
    assert [o.received_count for o in history.occurrences] == [3]


def test_an_unseen_resolve_is_an_already_resolved_occurrence() -> None:
    applied = History(late_window=LATE).apply(resolved(12, 31))
    assert applied.kind is EventKind.UNSEEN_RESOLVE
    assert applied.occurrence.status is AlertStatus.RESOLVED


def test_a_firing_that_its_resolve_overtook_opens_nothing() -> None:
    history = history_of([resolved(12, 31)])
    assert history.apply(firing(12)).kind is EventKind.OVERTAKEN
    assert history.firing is None


def test_a_flap_that_alertmanager_merged_stays_one_occurrence_until_its_resolve() -> None:
    assert outline(history_of([firing(12), firing(38), resolved(12, 60)])) == {("resolved", 12, 60)}


class TestOldStartAgain:
    """A firing with its old start after the resolve could be a late copy or new; only Alertmanager knows."""

    SEEN = (firing(12), resolved(12, 31, received=30))

    def test_it_is_recognised_as_ambiguous(self) -> None:
        history = history_of(self.SEEN)
        assert history.is_ambiguous(firing(12, received=40))
        assert not history.is_ambiguous(firing(50, received=40))

    def test_alertmanager_says_it_fires_then_it_is_a_new_occurrence(self) -> None:
        history = history_of(self.SEEN)
        applied = history.apply(firing(12, received=40), Presence.FIRING)
        assert applied.kind is EventKind.OPENED
        assert not applied.occurrence.uncertain
        assert history.firing is applied.occurrence

    @pytest.mark.parametrize("presence", [Presence.ABSENT, Presence.SUPPRESSED])
    def test_alertmanager_says_it_does_not_then_it_is_a_late_copy(self, presence: Presence) -> None:
        history = history_of(self.SEEN)
        assert history.apply(firing(12, received=40), presence).kind is EventKind.LATE
        assert history.firing is None

    def test_unanswered_within_the_late_window_people_are_told_and_the_record_stays(self) -> None:
        history = history_of(self.SEEN)
        assert history.apply(firing(12, received=40)).kind is EventKind.UNCERTAIN
        assert history.firing is None

    def test_unanswered_after_the_late_window_it_opens_but_is_marked_uncertain(self) -> None:
        history = history_of(self.SEEN)
        applied = history.apply(firing(12, received=30 + 301))
        assert applied.kind is EventKind.UNCERTAIN
        assert applied.occurrence.uncertain
        assert history.firing is applied.occurrence


def test_the_resolve_of_a_reopened_occurrence_ends_it() -> None:
    history = history_of([firing(12), resolved(12, 31)])
    history.apply(firing(12, received=40), Presence.FIRING)
    history.apply(resolved(12, 3700, received=200))
    assert history.firing is None
    assert len(history.occurrences) == 2


def test_an_occurrence_remembers_a_bounded_number_of_starts() -> None:
    (only,) = history_of([firing(s) for s in range(200)]).occurrences
    assert len(only.starts) == 32
    assert (_seconds(only.starts[0]), _seconds(only.starts[-1])) == (0, 199)


def test_severity_is_no_part_of_the_correlation() -> None:
    base = {"alertname": "A", "service": "s"}
    assert correlation("x", {**base, "severity": "warning"}) == correlation("x", {**base, "severity": "critical"})
    assert correlation("x", base) != correlation("y", base)


def test_stored_occurrences_are_unchanged_until_a_message_touches_them() -> None:
    (stored,) = history_of([firing(12)]).occurrences
    stored.changed = False
    other = Occurrence(**{f: getattr(stored, f) for f in stored.__slots__})
    assert not other.changed
