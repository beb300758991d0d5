"""``/incident``: from what a person typed to an operation and an answer in words.

Reads and errors are for the person who asked, changes are for everybody in the channel.
"""

from __future__ import annotations

import difflib
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hdr_responder.adapters.slack.card import Content, card
from hdr_responder.adapters.slack.text import MESSAGE_LIMIT, context, escape, fit, lines, section, when
from hdr_responder.domain.durations import parse_duration
from hdr_responder.domain.incidents import OPEN_STATUSES, Incident, parse_ref
from hdr_responder.domain.ports.operations import Operations
from hdr_responder.domain.ports.records import IncidentFilter, IncidentRecord, PageRequest, Records
from hdr_responder.domain.runs import Run, RunStatus
from hdr_responder.errors import InvalidInputError
from hdr_responder.records import presentation as words

LIST_LIMIT = 20
SUGGESTED = 5
NOTE_LIMIT = 2000
SHOWN_ALERTS = 10
LINE_LIMIT = 320

_REF = re.compile(r"inc-\d{1,18}", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person typed after ``/incident``; ``incident_id`` is the incident of the thread it was typed in."""

    text: str
    by: str
    incident_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is said back. ``public`` answers are for the channel, the others for the person alone."""

    content: Content
    public: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    usage: str
    about: str
    run: Callable[[Request, str], Awaitable[Answer]]


class Commands:
    """Carries out ``/incident``; raises what `Operations` and `Records` raise, InvalidInputError for wrong input."""

    def __init__(self, operations: Operations, records: Records) -> None:
        self._operations = operations
        self._records = records
        self._commands = {
            "list": _Command(usage="list", about="open incidents, most urgent first", run=self._list),
            "show": _Command(usage="show INC-1", about="one incident with its alerts and runs", run=self._show),
            "why": _Command(
                usage="why INC-1", about="why this priority, why automation did or did not act", run=self._why
            ),
            "ack": _Command(usage="ack INC-1", about="take note of it; automation goes on", run=self._acknowledge),
            "lead": _Command(
                usage="lead INC-1", about="take command; its automation asks before it acts", run=self._lead
            ),
            "resolve": _Command(usage="resolve INC-1 [note]", about="declare it over", run=self._resolve),
            "note": _Command(usage="note INC-1 text", about="write on its timeline", run=self._note),
            "run": _Command(usage="run INC-1 playbook", about="ask for a run; guards are asked as ever", run=self._run),
            "approve": _Command(usage="approve INC-1 | run id", about="approve the run that waits", run=self._approve),
            "deny": _Command(usage="deny INC-1 | run id", about="refuse the run that waits", run=self._deny),
            "cancel": _Command(usage="cancel run id", about="stop a run at its next step", run=self._cancel),
            "undo": _Command(usage="undo run id", about="take the changes of an ended run back now", run=self._undo),
            "hold": _Command(
                usage="hold service 30m [reason]", about="keep automation away from a service", run=self._hold
            ),
            "pause": _Command(usage="pause [reason]", about="stop all automation", run=self._pause),
            "resume": _Command(usage="resume", about="let automation go on", run=self._resume),
            "help": _Command(usage="help", about="this list", run=self._help),
        }

    async def run(self, request: Request) -> Answer:
        """Carry a request out and return what to say."""
        name, rest = _first_word(request.text)
        command = self._commands.get(name.lower() or "help")
        if command is None:
            return self._unknown(name)
        return await command.run(request, rest)

    async def acknowledge(self, incident_id: int, by: str) -> Incident:
        """Acknowledge, as the button does."""
        return await self._operations.acknowledge(incident_id, by=by)

    async def resolve(self, incident_id: int, by: str) -> Incident:
        """Resolve, as the button does."""
        return await self._operations.resolve(incident_id, by=by)

    async def decide(self, run_id: uuid.UUID, by: str, *, approved: bool) -> Run:
        """Approve or deny, as the buttons do."""
        decide = self._operations.approve if approved else self._operations.deny
        return await decide(run_id, by=by)

    async def _list(self, _request: Request, _rest: str) -> Answer:
        page = await self._records.incidents(
            IncidentFilter(statuses=tuple(OPEN_STATUSES)), PageRequest(limit=LIST_LIMIT)
        )
        if not page.items:
            return _private("No open incidents.")
        shown = [_listed(i) for i in sorted(page.items, key=lambda i: (i.priority.rank, -i.id))]
        left_out = [f"and older ones: these are the newest {len(shown)}"] if page.next_cursor else []
        return _private(lines([*shown, *left_out], MESSAGE_LIMIT))

    async def _show(self, request: Request, rest: str) -> Answer:
        record, _ = await self._record(request, rest, "show")
        shown = card(record, buttons=False)
        alerts = section(lines(["*Alerts*", *_alerts(record)], limit=2500))
        known = [f"`{run.id}` {escape(run.playbook[:60])}" for run, _ in record.runs if not run.status.is_ended]
        runs = [context(lines(["Runs under way:", *known], limit=1000))] if known else []
        return Answer(content=Content(text=shown.text, blocks=(*shown.blocks, alerts, *runs)))

    async def _why(self, request: Request, rest: str) -> Answer:
        record, _ = await self._record(request, rest, "why")
        told = [fit(words.headline(record.incident), 400), fit(words.priority_line(record.incident), LINE_LIMIT)]
        if not record.runs:
            told.append("No playbook has run or was held back.")
        for run, _ in sorted(record.runs, key=lambda r: r[0].created_at, reverse=True)[:SUGGESTED]:
            told.append(f"• {fit(words.run_line(run), LINE_LIMIT)}")
            told.append(f"    Mode {run.plan.mode}: {fit(words.one_line(run.plan.mode_reason), LINE_LIMIT)}")
            told += [f"    Refused by {fit(refusal, LINE_LIMIT)}" for refusal in words.refusals(run.plan.verdicts)]
        return _private(lines(told, MESSAGE_LIMIT))

    async def _acknowledge(self, request: Request, rest: str) -> Answer:
        incident_id, _ = await self._incident(request, rest, "ack")
        incident = await self._operations.acknowledge(incident_id, by=request.by)
        return _public(incident, f"acknowledged by {words.person(incident.acknowledged_by or request.by)}")

    async def _lead(self, request: Request, rest: str) -> Answer:
        incident_id, more = await self._incident(request, rest, "lead")
        if more:
            raise InvalidInputError("who takes command does it in person: /incident lead INC-1", field="person")
        incident = await self._operations.lead(incident_id, by=request.by)
        return _public(incident, f"is led by {words.person(request.by)}; its automation asks before it acts")

    async def _resolve(self, request: Request, rest: str) -> Answer:
        incident_id, note = await self._incident(request, rest, "resolve")
        incident = await self._operations.resolve(incident_id, by=request.by, note=note[:NOTE_LIMIT] or None)
        said = f" ({words.one_line(note)})" if note else ""
        return _public(incident, f"resolved by {words.person(incident.resolved_by or request.by)}{said}")

    async def _note(self, request: Request, rest: str) -> Answer:
        incident_id, text = await self._incident(request, rest, "note")
        if not text:
            raise InvalidInputError("write the note after the incident: /incident note INC-1 text", field="text")
        incident = await self._operations.note(incident_id, by=request.by, text=text[:NOTE_LIMIT])
        return _public(incident, f"noted by {words.person(request.by)}: {words.one_line(text, NOTE_LIMIT)}")

    async def _run(self, request: Request, rest: str) -> Answer:
        incident_id, words_ = await self._incident(request, rest, "run")
        playbook, *given = words_.split() or [""]
        if not playbook or not all("=" in word for word in given):
            usage = "name one playbook, then its params: /incident run INC-1 playbook name=value"
            raise InvalidInputError(usage, field="playbook")
        params = {name: value for name, _, value in (word.partition("=") for word in given)}
        run = await self._operations.run_playbook(incident_id, playbook, by=request.by, params=params)
        return _told(f"INC-{incident_id}: {words.run_line(run)}")

    async def _approve(self, request: Request, rest: str) -> Answer:
        run_id = await self._waiting_run(request, rest, "approve")
        run = await self._operations.approve(run_id, by=request.by)
        return _told(f"INC-{run.incident_id}: approved by {words.person(request.by)}. {words.run_line(run)}")

    async def _deny(self, request: Request, rest: str) -> Answer:
        run_id = await self._waiting_run(request, rest, "deny")
        run = await self._operations.deny(run_id, by=request.by)
        return _told(f"INC-{run.incident_id}: denied by {words.person(request.by)}. {words.run_line(run)}")

    async def _cancel(self, request: Request, rest: str) -> Answer:
        run = await self._operations.cancel(parse_run_id(rest), by=request.by)
        return _told(f"INC-{run.incident_id}: cancelled by {words.person(request.by)}. {words.run_line(run)}")

    async def _undo(self, request: Request, rest: str) -> Answer:
        run = await self._operations.undo(parse_run_id(rest), by=request.by)
        who = words.person(request.by)
        return _told(f"INC-{run.incident_id}: {who} has the changes of {run.playbook} taken back now.")

    async def _hold(self, request: Request, rest: str) -> Answer:
        service, rest = _first_word(rest)
        duration, reason = _first_word(rest)
        if not service or not duration:
            raise InvalidInputError(
                "name a service and a duration: /incident hold neural-hdr 30m [reason]", field="hold"
            )
        hold = await self._operations.hold(service, parse_duration(duration), by=request.by, reason=reason or None)
        why = f" ({words.one_line(hold.reason)})" if hold.reason else ""
        until = f"{escape(words.one_line(hold.service))} is held by {escape(words.person(hold.by))}"
        return Answer(content=Content(text=f"Automation of {until} until {when(hold.until)}{escape(why)}"), public=True)

    async def _pause(self, request: Request, rest: str) -> Answer:
        running = await self._operations.pause(by=request.by, reason=rest or None)
        why = f" ({words.one_line(rest)})" if rest else ""
        told = [fit(f"All automation was paused by {words.person(request.by)}{why}.", 600)]
        told += [f"• still in flight: INC-{r.incident_id} {fit(words.run_line(r), LINE_LIMIT)}" for r in running]
        return Answer(content=Content(text=lines(told, MESSAGE_LIMIT)), public=True)

    async def _resume(self, request: Request, _rest: str) -> Answer:
        await self._operations.resume(by=request.by)
        return _told(f"Automation was resumed by {words.person(request.by)}; what was held is asked again.")

    async def _help(self, _request: Request, _rest: str) -> Answer:
        return _private(self._usage())

    def _unknown(self, name: str) -> Answer:
        near = difflib.get_close_matches(name.lower(), self._commands, n=1, cutoff=0.5)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        return _private(f"There is no `{fit(words.one_line(name, 40), 80)}`.{hint}\n{self._usage()}")

    def _usage(self) -> str:
        listed = [f"`/incident {command.usage}` {command.about}" for command in self._commands.values()]
        return lines(
            [*listed, "In an incident's thread, mention the app instead and leave the INC-1 away."], MESSAGE_LIMIT
        )

    async def _record(self, request: Request, rest: str, name: str) -> tuple[IncidentRecord, str]:
        incident_id, rest = await self._incident(request, rest, name)
        return await self._records.incident(incident_id), rest

    async def _incident(self, request: Request, rest: str, name: str) -> tuple[int, str]:
        """Return the incident that is meant and what was typed after it.

        A bare number is one only where no thread tells the incident: there it may begin a note.
        """
        first, after = _first_word(rest)
        if _REF.fullmatch(first) or (request.incident_id is None and _NUMBER.fullmatch(first)):
            return parse_ref(first), after
        if request.incident_id is not None:
            return request.incident_id, rest
        page = await self._records.incidents(
            IncidentFilter(statuses=tuple(OPEN_STATUSES)), PageRequest(limit=SUGGESTED)
        )
        known = ", ".join(i.ref for i in page.items)
        raise InvalidInputError(
            f"which incident? For example: /incident {name} INC-1. Open: {known or 'none'}", field="ref"
        )

    async def _waiting_run(self, request: Request, rest: str, name: str) -> uuid.UUID:
        first, _ = _first_word(rest)
        if first and not _REF.fullmatch(first) and not _NUMBER.fullmatch(first):
            return parse_run_id(first)
        record, _ = await self._record(request, rest, name)
        waiting = [run for run, _ in record.runs if run.status is RunStatus.AWAITING_APPROVAL]
        if len(waiting) != 1:
            which = ", ".join(f"{run.id} ({run.playbook})" for run in waiting) or "none"
            raise InvalidInputError(f"{record.incident.ref}: runs that wait for approval: {which}", field="run")
        return waiting[0].id


def parse_run_id(text: str) -> uuid.UUID:
    """Return a run's id; raises InvalidInputError when it is none."""
    try:
        return uuid.UUID(text.strip())
    except ValueError as e:
        raise InvalidInputError(f"{text[:40]!r} is not a run's id", field="run") from e


def _first_word(text: str) -> tuple[str, str]:
    first, *rest = text.split(maxsplit=1) or [""]
    return first, rest[0].strip() if rest else ""


def _listed(incident: Incident) -> str:
    status = words.status_line(incident)
    return f"• {fit(words.headline(incident), 400)}: {escape(status.text)} since {when(status.since)}"


def _alerts(record: IncidentRecord) -> list[str]:
    shown = [
        f"• {a.status} since {when(a.starts_at)}: {fit(words.labels_line(a.labels, 200), 220)}"
        for a in record.alerts[:SHOWN_ALERTS]
    ]
    left_out = words.more(len(shown), record.incident.alerts_total)
    return [*shown, *([left_out] if left_out else [])] or ["none"]


def _public(incident: Incident, what: str) -> Answer:
    return _told(f"{incident.ref} {what}")


def _told(text: str) -> Answer:
    return Answer(content=Content(text=fit(text, MESSAGE_LIMIT)), public=True)


def _private(escaped: str) -> Answer:
    return Answer(content=Content(text=escaped))
