"""What the database itself saw: triggers that write down every effect and every move, and one query that reads it all.

The triggers run inside the transactions that they watch, so they know what was committed at the very moment of an
effect, which no look from outside can.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue

from hdr_responder.adapters.store.pool import Pool

_INSTALL = """
create table witnessed_effects (
    effect_id integer, value_after integer, step_status text, step_entries bigint, run_status text, holds_lock boolean
);
create function witness_effect() returns trigger language plpgsql as $$
begin
    insert into witnessed_effects
    select new.id,
        (select value from cells where name = new.cell),
        s.status,
        (
            select count(*) from timeline t
            where t.run_id = s.run_id and t.kind = 'step_started' and t.summary like 'Step ' || s.step_id || ':%'
        ),
        r.status,
        exists (select from target_locks l where l.run_id = r.id and l.target_key = 'cell:' || new.cell)
    from (select new.step_key as key) e
    left join steps s on s.run_id || '/' || s.step_id = e.key
    left join runs r on r.id = s.run_id;
    return null;
end $$;
create trigger witness_effect after insert on effects for each row execute function witness_effect();

create table witnessed_moves (id bigint generated always as identity, kind text, key text, before text, after text);
create function witness_move() returns trigger language plpgsql as $$
declare
    was jsonb := case when tg_op = 'UPDATE' then to_jsonb(old) end;
    is_now jsonb := to_jsonb(new);
begin
    if was is null or was ->> 'status' <> is_now ->> 'status' then
        insert into witnessed_moves (kind, key, before, after)
        values (
            tg_table_name, coalesce(is_now ->> 'id', concat_ws('/', is_now ->> 'run_id', is_now ->> 'step_id')),
            was ->> 'status', is_now ->> 'status'
        );
    end if;
    return null;
end $$;
create function witness_lease() returns trigger language plpgsql as $$
begin
    insert into witnessed_moves (kind, key, before, after) values ('leases', new.id::text, 'held', 'taken');
    return null;
end $$;
create trigger witness_lease after update on runs for each row
    when (new.fence > old.fence and old.lease_until > clock_timestamp()) execute function witness_lease();
create trigger witness_move after insert or update on runs for each row execute function witness_move();
create trigger witness_move after insert or update on steps for each row execute function witness_move();
create trigger witness_move after insert or update on incidents for each row execute function witness_move();

-- Deleting is a thousand times faster than truncating or copying a database, and leaves dead rows that vacuum takes.
create function wipe() returns void language plpgsql as $$
declare
    name text;
begin
    set local session_replication_role = replica;
    for name in select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace loop
        if name not in ('alembic_version', 'pause') then
            execute format('delete from %I', name);
        end if;
    end loop;
    perform setval(c.oid, 1, false)
    from pg_class c where c.relkind = 'S' and c.relnamespace = 'public'::regnamespace;
    update pause set engaged = false, by = null, reason = null, at = null;
end $$;
"""

_READ = """
select json_build_object(
    'runs', (
        select coalesce(json_agg(json_build_object(
            'id', r.id, 'incident_id', r.incident_id, 'playbook', r.playbook, 'mode', r.mode, 'status', r.status,
            'reason', r.reason, 'verification', r.verification, 'requested_by', r.requested_by,
            'started_at', extract(epoch from r.started_at), 'ended_at', extract(epoch from r.ended_at),
            'verdicts', r.plan -> 'verdicts', 'rules', r.plan #> '{document,guards}',
            'undoes', r.plan #>> '{document,undo}' = 'on_failure',
            'destructive', jsonb_path_exists(r.plan, '$.steps[*] ? (@.destructive == true)'),
            'approvals', approvals_of(r.id),
            'targets', (select coalesce(json_agg(target_key order by target_key), '[]') from run_targets t
                        where t.run_id = r.id),
            'locks', (select coalesce(json_agg(target_key order by target_key), '[]') from target_locks l
                      where l.run_id = r.id)
        ) order by r.created_at, r.incident_id, r.playbook, r.id), '[]') from runs r
    ),
    'steps', (
        select coalesce(json_agg(json_build_object(
            'run_id', run_id, 'step_id', step_id, 'action', action, 'status', status, 'parameters', parameters,
            'state', state, 'undo_due', undo_at is not null, 'undone', undone,
            'asked', case when action = 'approve' then (
                select (p #>> '{parameters,approvers}')::integer
                from runs r, jsonb_array_elements(r.plan -> 'steps') p
                where r.id = run_id and p ->> 'id' = step_id
            ) end
        ) order by run_id, position), '[]') from steps
    ),
    'effects', (
        select coalesce(json_agg(json_build_object(
            'step_key', e.step_key, 'cell', e.cell, 'kind', e.kind, 'value_after', w.value_after,
            'step_status', w.step_status, 'step_entries', w.step_entries, 'run_status', w.run_status,
            'holds_lock', w.holds_lock
        ) order by e.id), '[]') from effects e left join witnessed_effects w on w.effect_id = e.id
    ),
    'entries', (
        select coalesce(json_agg(json_build_object(
            'id', id, 'incident_id', incident_id, 'kind', kind, 'run_id', run_id, 'summary', summary,
            'at', extract(epoch from at), 'guards', coalesce(detail -> 'guards', '{}')
        ) order by id), '[]') from timeline
    ),
    'incidents', (
        select coalesce(json_agg(json_build_object(
            'id', id, 'service', service, 'priority', priority, 'status', status, 'paged', paged_at is not null,
            'resolved_by', resolved_by, 'alerts_firing', alerts_firing
        ) order by id), '[]') from incidents
    ),
    'alerts', (
        select coalesce(json_agg(json_build_object(
            'fingerprint', fingerprint, 'status', status, 'incident_id', incident_id
        ) order by id), '[]') from alerts
    ),
    'moves', (
        select coalesce(json_agg(json_build_object(
            'kind', kind, 'key', key, 'before', before, 'after', after
        ) order by id), '[]') from witnessed_moves
    ),
    'deliveries', (select coalesce(json_object_agg(status, n), '{}')
                   from (select status, count(*) as n from deliveries group by status) d)
)
"""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class Verdict(_Row):
    guard: str
    allowed: bool
    reason: str


class Approval(_Row):
    person: str
    decision: str
    gate: str


class RunRow(_Row):
    id: str
    incident_id: int
    playbook: str
    mode: str
    status: str
    reason: str
    verification: str
    requested_by: str | None
    started_at: float | None
    ended_at: float | None
    verdicts: tuple[Verdict, ...]
    rules: dict[str, Any]
    undoes: bool
    """Whether its changes are taken back when it fails."""
    destructive: bool
    approvals: tuple[Approval, ...]
    targets: tuple[str, ...]
    locks: tuple[str, ...]

    def approvers(self, gate: str = "") -> set[str]:
        """Who agreed to its start, or at one of its ``approve`` steps."""
        return {a.person for a in self.approvals if a.decision == "approve" and a.gate == gate}


class StepRow(_Row):
    run_id: str
    step_id: str
    action: str
    status: str
    parameters: dict[str, JsonValue]
    state: dict[str, JsonValue] | None
    undo_due: bool
    undone: str | None
    asked: int | None
    """How many people an ``approve`` step asks."""

    @property
    def key(self) -> str:
        return f"{self.run_id}/{self.step_id}"


class EffectRow(_Row):
    """One change of a cell, with what was committed when it happened."""

    step_key: str
    cell: str
    kind: str
    value_after: int | None
    step_status: str | None
    step_entries: int
    run_status: str | None
    holds_lock: bool


class EntryRow(_Row):
    id: int
    incident_id: int
    kind: str
    run_id: str | None
    summary: str
    at: float
    guards: dict[str, str]


class IncidentRow(_Row):
    id: int
    service: str
    priority: str
    status: str
    paged: bool
    resolved_by: str | None
    alerts_firing: int


class AlertRow(_Row):
    fingerprint: str
    status: str
    incident_id: int


class MoveRow(_Row):
    kind: str
    key: str
    before: str | None
    after: str


class Recorded(_Row):
    """All that the tables say at one moment."""

    runs: tuple[RunRow, ...]
    steps: tuple[StepRow, ...]
    effects: tuple[EffectRow, ...]
    entries: tuple[EntryRow, ...]
    incidents: tuple[IncidentRow, ...]
    alerts: tuple[AlertRow, ...]
    moves: tuple[MoveRow, ...]
    deliveries: dict[str, int]

    def entries_of(self, run: RunRow, *kinds: str) -> list[EntryRow]:
        return [e for e in self.entries if e.run_id == run.id and e.kind in kinds]

    def steps_of(self, run: RunRow) -> list[StepRow]:
        return [s for s in self.steps if s.run_id == run.id]

    def incident(self, incident_id: int) -> IncidentRow:
        return next(i for i in self.incidents if i.id == incident_id)


async def install(pool: Pool) -> None:
    """Add the triggers and ``wipe()`` to a migrated database of the test's own."""
    await pool.execute(_INSTALL)


async def wipe(pool: Pool) -> None:
    """Empty the database, past the trigger that protects the timeline."""
    await pool.execute("select wipe()")


async def read(pool: Pool) -> Recorded:
    """Read everything in one statement."""
    return Recorded.model_validate(json.loads(await pool.fetchval(_READ)))
