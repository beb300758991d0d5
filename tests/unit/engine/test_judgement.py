"""How verdicts become an answer: positive evidence that held, contrary evidence, or none."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from hdr_responder.actions.contract import Verdict
from hdr_responder.documents.playbooks import CompiledVerify
from hdr_responder.domain.runs import Mode, Plan, Run, RunStatus, Verification
from hdr_responder.engine.verifier import Judgement, judge

START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
WITHIN, HOLD = timedelta(minutes=1), timedelta(seconds=20)
PLAN = Plan(
    playbook="p",
    digest="",
    summary="",
    mode=Mode.AUTO,
    mode_reason="",
    params={},
    steps=(),
    verify=(),
    document={},
    context={},
)
RUN = Run(
    id=uuid.UUID(int=1),
    incident_id=1,
    episode=1,
    playbook="p",
    mode=Mode.AUTO,
    status=RunStatus.VERIFYING,
    plan=PLAN,
    created_at=START,
    verify_until=START + WITHIN,
)


def look(
    *answers: bool | None,
    at: float,
    since: float | None = None,
    need: Literal["all", "any"] = "all",
    hold: timedelta = HOLD,
) -> Judgement:
    """One look ``at`` seconds after the start; the checks have held ``since`` then."""
    run = dataclasses.replace(RUN, holding_since=None if since is None else START + timedelta(seconds=since))
    verify = CompiledVerify(within=WITHIN, hold=hold, need=need, checks=())
    verdicts = [(f"c{n}", Verdict(holds=a, detail=str(a))) for n, a in enumerate(answers)]
    return judge(run, verify, verdicts, START + timedelta(seconds=at))


@pytest.mark.parametrize(
    ("answers", "need", "wanted"),
    [
        ((True, True), "all", Verification.VERIFIED),
        ((True, None), "all", Verification.INCONCLUSIVE),
        ((True, False), "all", Verification.FAILED),
        ((None, False), "all", Verification.FAILED),
        ((False, True), "any", Verification.VERIFIED),
        ((None, True), "any", Verification.VERIFIED),
        ((False, None), "any", Verification.INCONCLUSIVE),
        ((False, False), "any", Verification.FAILED),
    ],
)
def test_answers_at_the_end(
    answers: tuple[bool | None, ...], need: Literal["all", "any"], wanted: Verification
) -> None:
    assert look(*answers, at=60, need=need, hold=timedelta(0)).answer is wanted


def test_without_a_hold_one_look_is_enough() -> None:
    assert look(True, at=0, hold=timedelta(0)).answer is Verification.VERIFIED


def test_a_hold_is_counted_from_the_first_look_that_held() -> None:
    first = look(True, at=5)
    assert (first.answer, first.holding_since) == (Verification.PENDING, START + timedelta(seconds=5))
    assert look(True, at=24.9, since=5).answer is Verification.PENDING
    assert look(True, at=25, since=5).answer is Verification.VERIFIED


@pytest.mark.parametrize("answer", [False, None])
def test_what_does_not_hold_begins_the_hold_anew(answer: bool | None) -> None:
    assert look(answer, at=24, since=5).holding_since is None


def test_contrary_evidence_before_the_end_is_no_failure_yet() -> None:
    assert look(False, at=59.9).answer is Verification.PENDING


def test_a_hold_that_began_in_time_may_end_after_the_end() -> None:
    assert look(True, at=70, since=55).answer is Verification.PENDING
    assert look(True, at=75, since=55).answer is Verification.VERIFIED
    assert look(False, at=70, since=55).answer is Verification.FAILED


@pytest.mark.parametrize(("answer", "person"), [(True, False), (False, True), (None, True)])
def test_who_is_needed(answer: bool | None, person: bool) -> None:
    assert look(answer, at=60, hold=timedelta(0)).needs_person is person
