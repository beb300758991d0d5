"""The words that people read."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdr_responder.adapters.slack.text import escape, fit, lines, link, unescape
from hdr_responder.domain.incidents import IncidentStatus
from hdr_responder.domain.runs import RunStatus, StepStatus, Verification
from hdr_responder.records import presentation as words
from tests.unit.people.builders import NOW, make_alert, make_incident, make_record, make_run, make_step


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "< 1 s"),
        (0.4, "< 1 s"),
        (1, "1 s"),
        (72, "1 min 12 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (7500, "2 h 5 min"),
        (90000, "1 d 1 h"),
        (-5, "< 1 s"),
    ],
)
def test_length(seconds: float, text: str) -> None:
    assert words.length(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("total", "firing", "lower_bound", "text"),
    [
        (1, 1, False, "1 firing of 1 alert"),
        (20, 3, False, "3 firing of 20 alerts"),
        (20, 20, True, ">= 20 firing of >= 20 alerts"),
        (1, 0, True, ">= 0 firing of >= 1 alerts"),
    ],
)
def test_counts_of_truncated_groups_are_lower_bounds(total: int, firing: int, lower_bound: bool, text: str) -> None:
    incident = make_incident(alerts_total=total, alerts_firing=firing, lower_bound=lower_bound)
    assert words.alert_counts(incident) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "Triggered, not acknowledged yet since 2026-03-01 03:00:00 UTC"),
        (
            {"status": IncidentStatus.ACKNOWLEDGED, "acknowledged_by": "bob (slack:U2)", "acknowledged_at": NOW},
            "Acknowledged by bob since 2026-03-01 03:00:00 UTC",
        ),
        ({"status": IncidentStatus.RESOLVED, "resolved_at": NOW}, "Resolved since 2026-03-01 03:00:00 UTC"),
        ({"status": IncidentStatus.MITIGATED}, "Mitigated, not yet confirmed as over since 2026-03-01 03:00:00 UTC"),
        ({"status": IncidentStatus.CLOSED, "closed_at": NOW}, "Closed since 2026-03-01 03:00:00 UTC"),
    ],
)
def test_status(changes: dict[str, object], text: str) -> None:
    assert str(words.status_line(make_incident(**changes))) == text


def test_every_status_has_words() -> None:
    for status in RunStatus:
        assert words.run_line(make_run(status))
    for verification in Verification:
        said = words.verification_line(make_run(verification=verification))
        assert bool(said) is (verification is not Verification.NONE)
    for step in StepStatus:
        assert words.step_lines(make_run(), [make_step(make_run(), status=step)])


def test_run_names_who_asked_and_why_it_stands() -> None:
    run = make_run(RunStatus.HELD, requested_by="alice (slack:U1)", reason="cooldown:\nit ran 3 min ago")
    assert words.run_line(run) == (
        "restart-workers (auto, asked for by alice) held by a guard: cooldown: it ran 3 min ago"
    )


def test_failed_step_says_why() -> None:
    step = make_step(make_run(), status=StepStatus.FAILED, error="quota", undone="scaled back")
    assert words.step_lines(make_run(), [step]) == [
        "1. Restart the workers on Deployment vfx/neural-hdr: failed after 1 min 12 s (quota); undone: scaled back"
    ]


def test_the_step_that_a_run_is_at_is_under_way() -> None:
    """A read leaves no trace until it has ended, and may wait for minutes."""
    run, waiting = make_run(RunStatus.RUNNING), make_run(RunStatus.HELD)
    steps = [make_step(run, status=status) for status in (StepStatus.SUCCEEDED, StepStatus.PENDING, StepStatus.PENDING)]
    assert [line.partition(": ")[2].partition(" after")[0] for line in words.step_lines(run, steps)] == [
        *("done", "under way", "to come")
    ]
    assert len(words.step_lines(run, steps, ahead=False)) == 2
    assert len(words.step_lines(waiting, steps, ahead=False)) == 1
    begun = [make_step(run, status=StepStatus.STARTED), make_step(run, status=StepStatus.PENDING)]
    assert "under way" not in "".join(words.step_lines(run, begun))


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "file:///etc/passwd", "https://", "x", "http://[", "https://a\nb"]
)
def test_only_web_addresses_are_runbooks(url: str) -> None:
    record = make_record(alerts=(make_alert(runbook_url=url), make_alert(runbook="https://runbooks.example/b")))
    assert words.runbook_url(record) == "https://runbooks.example/b"


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_bounded_line(text: str, limit: int) -> None:
    line = words.one_line(text, limit)
    assert len(line) <= limit
    assert "\x1b" not in line
    assert len(line.splitlines()) <= 1


@given(st.text(alphabet=st.sampled_from("<>&!ab")), st.integers(1, 40))
def test_fit_keeps_to_the_limit_and_splits_no_entity(text: str, limit: int) -> None:
    shown = fit(text, limit)
    assert len(shown) <= limit
    assert "<" not in shown
    assert ">" not in shown
    kept = unescape(shown.removesuffix("…"))
    assert text.startswith(kept)
    assert shown.endswith("…") or kept == text


@given(st.text())
def test_escaping_is_undone_by_reading(text: str) -> None:
    assert unescape(escape(text)) == text


@given(st.lists(st.text(alphabet="ab", max_size=20)), st.integers(30, 100))
def test_lines_are_left_out_whole(told: list[str], limit: int) -> None:
    shown = lines(told, limit)
    assert len(shown) <= limit
    assert shown == "\n".join(told) or "\n".join(told).startswith(shown.removesuffix("…"))


def test_links_carry_no_markup() -> None:
    assert link("https://a.example/<!here>|x y&z", "A & B") == "<https://a.example/%3C!here%3E%7Cx%20y&amp;z|A &amp; B>"
    assert link("javascript:alert(1)", "A") == "A"
