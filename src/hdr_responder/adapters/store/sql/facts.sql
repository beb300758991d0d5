-- name: serialise_targets
select pg_advisory_xact_lock(hashtextextended(target_key, 1))
from unnest($1::text[]) as wanted (target_key)

-- name: surroundings
select i.service,
    i.commander,
    i.status in ('triggered', 'acknowledged', 'mitigated') as incident_open,
    count(a.id) as alerts_firing,
    coalesce(bool_or(a.uncertain), false) as uncertain,
    max(a.last_received_at) as last_alert_at
from incidents i
left join alerts a on a.incident_id = i.id and a.status = 'firing'
where i.id = $1
group by i.id

-- name: hold
select service, until, by, reason
from holds
where service = $1 and until > $2

-- name: targets
select t.key,
    t.effect_group,
    l.run_id::text as held_by_run,
    (
        select max(r.ended_at)
        from run_targets o
        join runs r on r.id = o.run_id
        where o.target_key = t.key and o.effect_group = t.effect_group and o.run_id <> $3 and r.started_at is not null
    ) as last_ended_at,
    array(
        select r.started_at
        from run_targets o
        join runs r on r.id = o.run_id
        where o.target_key = t.key and o.effect_group = t.effect_group and o.run_id <> $3 and r.started_at >= $4
        order by r.started_at desc
        limit 100
    ) as recent_starts
from unnest($1::text[], $2::text[]) with ordinality as t (key, effect_group, position)
left join target_locks l on l.target_key = t.key
order by t.position
