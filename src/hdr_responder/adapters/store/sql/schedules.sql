-- name: expect
insert into schedules (playbook, cron, time_zone, next_at)
select playbook, cron, time_zone, next_at
from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as wanted (playbook, cron, time_zone, next_at)
on conflict (playbook, cron, time_zone) do nothing

-- name: due
select s.playbook, s.cron, s.time_zone, s.next_at
from schedules s
join unnest($1::text[], $2::text[], $3::text[]) as wanted (playbook, cron, time_zone)
    using (playbook, cron, time_zone)
where s.next_at <= $4
order by s.next_at, s.playbook

-- name: claim
select next_at
from schedules
where playbook = $1 and cron = $2 and time_zone = $3 and next_at <= $4
for update skip locked

-- name: move
update schedules
set next_at = $4
where playbook = $1 and cron = $2 and time_zone = $3

-- name: forget
delete from schedules
where next_at < $1

-- name: open_incident
select id
from incidents
where key = $1 and status in ('triggered', 'acknowledged', 'mitigated')

-- name: unfinished
select incident_id
from runs
where playbook = $1 and trigger = 'schedule' and status in ('awaiting_approval', 'held', 'running', 'verifying')
order by created_at, id
limit 1

-- name: to_settle
-- Incidents that stand for scheduled runs and are still open although the newest run is over and called nobody.
select i.id
from incidents i
cross join lateral (
    select status, verification, created_at
    from runs r
    where r.incident_id = i.id
    order by r.created_at desc, r.id desc
    limit 1
) newest
where i.status in ('triggered', 'acknowledged', 'mitigated')
    and i.alerts_total = 0
    and exists (select from runs r where r.incident_id = i.id and r.trigger = 'schedule')
    and (
        newest.status in ('observed', 'cancelled', 'denied')
        or (newest.status = 'completed' and newest.verification in ('none', 'verified'))
    )
    and not exists (
        select from timeline t
        where t.incident_id = i.id and t.kind = 'escalated' and t.at >= newest.created_at
    )
order by i.id
limit $1
