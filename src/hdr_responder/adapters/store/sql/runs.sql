-- name: insert
insert into runs (id, incident_id, episode, playbook, mode, status, reason, verification, plan, trigger, requested_by, created_at,
    ask_again_at, expires_at, started_at, ended_at, cancel_requested_by, verify_until, holding_since, next_check_at, resume_at, gate, gate_question, fence)
select id, incident_id, episode, playbook, mode, status, reason, verification, plan, trigger, requested_by, created_at,
    ask_again_at, expires_at, started_at, ended_at, cancel_requested_by, verify_until, holding_since, next_check_at, resume_at, gate, gate_question, fence
from jsonb_populate_record(null::runs, $1::jsonb)
on conflict (incident_id, episode, playbook) where requested_by is null and trigger <> 'schedule' do nothing

-- name: insert_targets
insert into run_targets (run_id, target_key, effect_group)
select $1, target_key, effect_group
from unnest($2::text[], $3::text[]) as new (target_key, effect_group)

-- name: insert_steps
insert into steps (run_id, position, step_id, action, status, parameters, result, state, error, started_at, ended_at,
    undo_at, undone)
select run_id, position, step_id, action, status, parameters, result, state, error, started_at, ended_at,
    undo_at, undone
from jsonb_populate_recordset(null::steps, $1::jsonb)

-- name: get
select r.*, approvals_of(r.id) as approvals
from runs r
where r.id = $1

-- name: get_locked
select r.*, approvals_of(r.id) as approvals
from runs r
where r.id = $1
for no key update

-- name: cancelled_by
select cancel_requested_by
from runs
where id = $1
for no key update

-- name: of_incident
select r.*, approvals_of(r.id) as approvals
from runs r
where r.incident_id = $1
order by r.created_at, r.id

-- name: save
update runs r
set mode = n.mode,
    status = n.status,
    reason = n.reason,
    verification = n.verification,
    plan = n.plan,
    ask_again_at = n.ask_again_at,
    expires_at = n.expires_at,
    started_at = n.started_at,
    ended_at = n.ended_at,
    cancel_requested_by = n.cancel_requested_by,
    verify_until = n.verify_until,
    holding_since = n.holding_since,
    next_check_at = n.next_check_at,
    resume_at = n.resume_at,
    gate = n.gate,
    gate_question = n.gate_question
from jsonb_populate_record(null::runs, $1::jsonb) as n
where r.id = n.id and r.fence = n.fence

-- name: steps
select *
from steps
where run_id = $1
order by position

-- name: save_step
with held as (
    select id from runs where id = $2 and fence = $3 for no key update
)
update steps s
set status = n.status,
    parameters = n.parameters,
    result = n.result,
    state = n.state,
    error = n.error,
    started_at = n.started_at,
    ended_at = n.ended_at,
    undo_at = n.undo_at,
    undone = n.undone
from jsonb_populate_record(null::steps, $1::jsonb) as n, held
where s.run_id = held.id and s.position = n.position

-- name: lock_targets
insert into target_locks (target_key, run_id)
select target_key, $1
from unnest($2::text[]) as wanted (target_key)
order by target_key
on conflict (target_key) do nothing
returning target_key

-- name: locks_held
select count(*)
from target_locks
where run_id = $1 and target_key = any ($2::text[])

-- name: unlock_targets
delete from target_locks
where run_id = $1 and target_key = any ($2::text[])

-- name: release_targets
with released as (
    delete from target_locks where run_id = $1 returning target_key
)
select r.id
from runs r
where r.status = 'held' and r.id <> $1 and r.plan @> '{"verdicts": [{"guard": "target", "allowed": false}]}'
    and exists (select from run_targets t join released using (target_key) where t.run_id = r.id)
order by r.created_at, r.id

-- name: lease
update runs
set lease_owner = $2, lease_until = clock_timestamp() + $3, fence = fence + 1
where id = $1 and (lease_until is null or lease_until < clock_timestamp())
returning fence

-- name: renew
update runs
set lease_until = clock_timestamp() + $4
where id = $1 and lease_owner = $2 and fence = $3
returning cancel_requested_by

-- name: release_lease
update runs
set lease_owner = null, lease_until = clock_timestamp()
where id = $1 and lease_owner = $2 and fence = $3

-- name: approve
insert into approvals (run_id, person, decision, at, gate)
values ($1, $2, $3, $4, $5)
on conflict (run_id, gate, person) do nothing

-- name: in_status
select r.*, approvals_of(r.id) as approvals
from runs r
where r.status = any ($1::text[])
order by r.created_at, r.id
limit $2

-- name: waiting
select id
from runs
where status in ('awaiting_approval', 'held')
order by created_at, id
limit $1

-- name: undo_due
select run_id
from steps
where undo_at <= $1 and undone is null
group by run_id
order by min(undo_at), run_id
limit $2

-- name: undoing
-- A worker that takes changes back holds the lease of a run that has ended.
select r.*, approvals_of(r.id) as approvals
from runs r
where r.status not in ('awaiting_approval', 'held', 'running', 'verifying')
    and r.lease_until > clock_timestamp()
    and r.id in (select run_id from steps where undo_at is not null and undone is null)
order by r.created_at, r.id
limit $1

-- name: force_undo
update runs
set undo_forced_by = $2, undo_forced_at = $3
where id = $1

-- name: page
select r.*, approvals_of(r.id) as approvals
from runs r
where (cardinality($1::text[]) = 0 or status = any ($1))
    and ($2::timestamptz is null or (created_at, id) < ($2, $3::uuid))
order by created_at desc, id desc
limit $4

-- name: between
select r.*, approvals_of(r.id) as approvals
from runs r
where created_at >= $1 and created_at < $2
order by created_at, id
limit $3

-- name: steps_of_incident
select s.*
from steps s
join runs r on r.id = s.run_id
where r.incident_id = $1
order by s.run_id, s.position
