"""Runs in memory, and the facts that guards ask about them: what PostgreSQL answers in the service.

Starts and ends are kept in the order in which they happened, so that what is newest is at the end.
"""

from __future__ import annotations

import itertools
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from hdr_responder.domain.alerts import Occurrence
from hdr_responder.domain.guards import (
    Counted,
    FactsAsked,
    GuardFacts,
    Limit,
    LimitUse,
    PauseState,
    TargetHistory,
    TrackRecord,
)
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.runs import WAITING, PlannedTarget, Run, RunStatus, Step, Verification

_STREAK_READ = 50

Surroundings = Callable[[int], tuple[Incident, list[Occurrence]]]
"""Returns the incident of a number and its firing alerts."""
AskAgain = Callable[[uuid.UUID, datetime], None]
"""Has the guards of a waiting run asked at this time, as the service's sweep does."""


class MemoryRuns:
    """Runs with their steps and target locks."""

    def __init__(self, surroundings: Surroundings, ask_again: AskAgain) -> None:
        self.all: dict[uuid.UUID, Run] = {}
        self._surroundings = surroundings
        self._ask_again = ask_again
        self._due: set[tuple[uuid.UUID, datetime]] = set()
        self._steps: dict[uuid.UUID, list[Step]] = {}
        self._of_incident: dict[int, list[Run]] = {}
        self._waiting: dict[uuid.UUID, Run] = {}
        self._locks: dict[str, uuid.UUID] = {}
        self._started = _Ordered(lambda r: r.started_at is not None)
        self._ended = _Ordered(lambda r: r.started_at is not None and r.ended_at is not None)

    async def insert(self, run: Run, steps: Sequence[Step]) -> bool:
        """Take a new one in; False when automation already ran it in this episode."""
        before = self._of_incident.setdefault(run.incident_id, [])
        if any(r.episode == run.episode and r.playbook == run.playbook for r in before):
            return False
        before.append(run)
        self.all[run.id] = run
        self._steps[run.id] = list(steps)
        await self.save(run)
        return True

    async def get(self, run_id: uuid.UUID, *, lock: bool = False) -> Run:
        """Return one."""
        del lock
        return self.all[run_id]

    async def of_incident(self, incident_id: int) -> list[Run]:
        """Return an incident's runs, oldest first."""
        return list(self._of_incident.get(incident_id, ()))

    async def save(self, run: Run) -> None:
        """Note whether it waits, has started and has ended; all else is the object's own."""
        if run.status in WAITING:
            self._waiting[run.id] = run
            for at in (run.ask_again_at, run.expires_at):
                if at is not None and (run.id, at) not in self._due:
                    self._due.add((run.id, at))
                    self._ask_again(run.id, at)
        else:
            self._waiting.pop(run.id, None)
        self._started.note(run)
        self._ended.note(run)

    async def steps(self, run_id: uuid.UUID) -> list[Step]:
        """Return the steps in order."""
        return self._steps[run_id]

    async def in_status(self, statuses: Sequence[RunStatus], limit: int) -> list[Run]:
        """Return the waiting runs in these statuses, oldest first."""
        found = (r for r in self._waiting.values() if r.status in statuses)
        return list(itertools.islice(found, limit))

    async def lock_targets(self, run_id: uuid.UUID, keys: Sequence[str]) -> bool:
        """Take the locks, all or none."""
        if any(self._locks.get(key, run_id) != run_id for key in keys):
            return False
        self._locks |= dict.fromkeys(keys, run_id)
        return True

    async def release_targets(self, run_id: uuid.UUID) -> list[uuid.UUID]:
        """Give the locks back; return the runs that the guard of one of these targets holds."""
        released = {t.key for t in self.all[run_id].plan.targets if self._locks.get(t.key) == run_id}
        for key in released:
            del self._locks[key]
        return [r.id for r in self._waiting.values() if r.id != run_id and _waits_for(r, released)]

    async def facts(self, run: Run, asked: FactsAsked, *, now: datetime) -> GuardFacts:
        """Return what guards ask, from this simulation's own history; the run itself is not counted."""
        incident, firing = self._surroundings(run.incident_id)
        return GuardFacts(
            now=now,
            pause=PauseState(engaged=False),
            hold=None,
            targets=tuple(self._history(run, target) for target in run.plan.targets),
            limits=tuple(LimitUse(limit=one, full_since=self._full_since(run, one, now)) for one in asked.limits),
            track_record=self._track_record(run, asked.track_record_of),
            commander=incident.commander,
            incident_open=incident.status.is_open,
            alerts_firing=len(firing),
            uncertain=any(a.uncertain for a in firing),
            last_alert_at=max((a.last_received_at for a in firing), default=None),
        )

    def _history(self, run: Run, target: PlannedTarget) -> TargetHistory:
        place = (Counted.TARGET, target.effect_group, target.key)
        holder = self._locks.get(target.key)
        failed = self._failed_in_a_row(run, place)
        return TargetHistory(
            key=target.key,
            effect_group=target.effect_group,
            held_by_run=str(holder) if holder else None,
            last_ended_at=next((r.ended_at for r in self._ended.newest(place, without=run)), None),
            failures=len(failed),
            last_failed_at=failed[0].ended_at if failed else None,
        )

    def _failed_in_a_row(self, run: Run, place: _Place) -> list[Run]:
        own = (r for r in self._ended.newest(place, without=run) if r.playbook == run.playbook and _is_conclusive(r))
        newest = itertools.islice(own, _STREAK_READ)
        return list(itertools.takewhile(lambda r: r.verification is not Verification.VERIFIED, newest))

    def _full_since(self, run: Run, limit: Limit, now: datetime) -> datetime | None:
        since = now - limit.allowance.per
        place = (limit.counted, limit.name, limit.target_key)
        starts = (r.started_at for r in self._started.newest(place, without=run) if r.started_at)
        recent = itertools.takewhile(lambda at: at > since, starts)
        return next(itertools.islice(recent, limit.allowance.runs - 1, None), None)

    def _track_record(self, run: Run, newest: int) -> TrackRecord:
        ended = self._ended.newest((Counted.PLAYBOOK, run.playbook, ""), without=run)
        counted = itertools.islice((r for r in ended if r.plan.targets and r.status in _CONCLUDED), newest)
        verified = [r.verification is Verification.VERIFIED for r in counted]
        return TrackRecord(runs=len(verified), verified=sum(verified))


_CONCLUDED = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.AMBIGUOUS})

_Place = tuple[Counted, str, str]
"""What runs are counted by: which limit, its name, its target's key."""


class _Ordered:
    """Runs of which something has become true, in that order, by everything that limits count."""

    def __init__(self, happened: Callable[[Run], bool]) -> None:
        self._happened = happened
        self._known: set[uuid.UUID] = set()
        self._runs: dict[_Place, list[Run]] = defaultdict(list)

    def note(self, run: Run) -> None:
        """Take the run in when it has become true of it."""
        if run.id in self._known or not self._happened(run):
            return
        self._known.add(run.id)
        for place in _places(run):
            self._runs[place].append(run)

    def newest(self, place: _Place, *, without: Run) -> Iterator[Run]:
        """Return the runs there, newest first."""
        return (r for r in reversed(self._runs.get(place, ())) if r.id != without.id)


def _places(run: Run) -> Iterable[_Place]:
    targets = run.plan.targets
    yield (Counted.PLAYBOOK, run.playbook, "")
    if targets:
        yield (Counted.FLEET, "", "")
    for group in {t.effect_group for t in targets}:
        yield (Counted.EFFECT, group, "")
    for target in targets:
        yield (Counted.TARGET, target.effect_group, target.key)


def _waits_for(run: Run, targets: set[str]) -> bool:
    guarded = run.status is RunStatus.HELD and any(v.guard == "target" and not v.allowed for v in run.plan.verdicts)
    return guarded and any(t.key in targets for t in run.plan.targets)


def _is_conclusive(run: Run) -> bool:
    done = run.status is RunStatus.COMPLETED and run.verification is not Verification.NONE
    return done or run.status in {RunStatus.FAILED, RunStatus.AMBIGUOUS}
