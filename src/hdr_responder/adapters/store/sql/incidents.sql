-- name: get
select *
from incidents
where id = $1

-- name: get_locked
select *
from incidents
where id = $1
for no key update

-- name: by_keys
select *
from incidents
where (key = any ($1::text[]) and status <> 'closed') or id = any ($2::bigint[])
order by id desc
for no key update

-- name: new_ids
select nextval(pg_get_serial_sequence('incidents', 'id')) from generate_series(1, $1::integer)

-- name: insert
insert into incidents (id, key, cluster, service, problem, title, priority, priority_rule, priority_reason, priority_set_by,
    status, started_at, opened_at, acknowledged_at, acknowledged_by, mitigated_at, resolved_at, resolved_by, closed_at,
    commander, episode, alerts_total, alerts_firing, lower_bound, page_at, paged_at, escalate_at, plan_at)
overriding system value
select id, key, cluster, service, problem, title, priority, priority_rule, priority_reason, priority_set_by,
    status, started_at, opened_at, acknowledged_at, acknowledged_by, mitigated_at, resolved_at, resolved_by, closed_at,
    commander, episode, alerts_total, alerts_firing, lower_bound, page_at, paged_at, escalate_at, plan_at
from jsonb_populate_recordset(null::incidents, $1::jsonb)

-- name: update
update incidents i
set title = n.title,
    priority = n.priority,
    priority_rule = n.priority_rule,
    priority_reason = n.priority_reason,
    priority_set_by = n.priority_set_by,
    status = n.status,
    started_at = n.started_at,
    acknowledged_at = n.acknowledged_at,
    acknowledged_by = n.acknowledged_by,
    mitigated_at = n.mitigated_at,
    resolved_at = n.resolved_at,
    resolved_by = n.resolved_by,
    closed_at = n.closed_at,
    commander = n.commander,
    episode = n.episode,
    alerts_total = n.alerts_total,
    alerts_firing = n.alerts_firing,
    lower_bound = n.lower_bound,
    page_at = n.page_at,
    paged_at = n.paged_at,
    escalate_at = n.escalate_at,
    plan_at = n.plan_at
from jsonb_populate_recordset(null::incidents, $1::jsonb) as n
where i.id = n.id

-- name: due
select *
from incidents
where status in ('triggered', 'acknowledged', 'mitigated')
    and ((page_at <= $1 and paged_at is null) or escalate_at <= $1)
order by id
limit $2
for no key update skip locked

-- name: to_close
select *
from incidents
where status = 'resolved' and resolved_at < $1
order by resolved_at
limit $2
for no key update skip locked

-- name: page
select *
from incidents
where (cardinality($1::text[]) = 0 or status = any ($1))
    and (cardinality($2::text[]) = 0 or priority = any ($2))
    and ($3::text is null or service = $3)
    and ($4::bigint is null or id < $4)
order by id desc
limit $5

-- name: by_ids
select *
from incidents
where id = any ($1::bigint[])
