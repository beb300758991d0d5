-- name: serialise
-- Evaluated in the order given, which is the same for everybody, so that nobody waits in a circle.
select pg_advisory_xact_lock(hashtextextended(wanted.name, 1))
from unnest($1::text[]) as wanted (name)

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

-- name: hold_of_run
select h.service, h.until, h.by, h.reason
from holds h
join incidents i on i.service = h.service
where i.id = $1 and h.until > $2

-- name: targets
-- Failures are counted back from the playbook's newest conclusive run on the target to the one that was verified.
select t.key,
    t.effect_group,
    l.run_id::text as held_by_run,
    (
        select max(r.ended_at)
        from run_targets o
        join runs r on r.id = o.run_id
        where o.target_key = t.key and o.effect_group = t.effect_group and o.run_id <> $3 and r.started_at is not null
    ) as last_ended_at,
    streak.failures,
    streak.last_failed_at
from unnest($1::text[], $2::text[]) with ordinality as t (key, effect_group, position)
left join target_locks l on l.target_key = t.key
cross join lateral (
    select count(*) as failures, max(judged.ended_at) as last_failed_at
    from (
        select newest.ended_at, bool_or(newest.helped) over (order by newest.ended_at desc, newest.id) as helped_since
        from (
            select r.id, r.ended_at, r.verification = 'verified' as helped
            from run_targets o
            join runs r on r.id = o.run_id
            where o.target_key = t.key and o.effect_group = t.effect_group and o.run_id <> $3
                and r.playbook = $4 and r.started_at is not null
                and (r.status in ('failed', 'ambiguous') or (r.status = 'completed' and r.verification <> 'none'))
            order by r.ended_at desc, r.id
            limit 50
        ) as newest
    ) as judged
    where not judged.helped_since
) as streak
order by t.position

-- name: limits
-- The start that fills each limit: counted newest first, the one at its number of runs.
select w.position,
    case w.counted
        when 'target' then (
            select r.started_at
            from run_targets o
            join runs r on r.id = o.run_id
            where o.target_key = w.target_key and o.effect_group = w.name and r.id <> $1
                and r.started_at > $2::timestamptz - w.per
            order by r.started_at desc
            offset w.runs - 1
            limit 1
        )
        when 'playbook' then (
            select r.started_at
            from runs r
            where r.playbook = w.name and r.id <> $1 and r.started_at > $2::timestamptz - w.per
            order by r.started_at desc
            offset w.runs - 1
            limit 1
        )
        when 'effect' then (
            select r.started_at
            from runs r
            where r.id <> $1 and r.started_at > $2::timestamptz - w.per
                and exists (select from run_targets o where o.run_id = r.id and o.effect_group = w.name)
            order by r.started_at desc
            offset w.runs - 1
            limit 1
        )
        when 'fleet' then (
            select r.started_at
            from runs r
            where r.id <> $1 and r.started_at > $2::timestamptz - w.per
                and exists (select from run_targets o where o.run_id = r.id)
            order by r.started_at desc
            offset w.runs - 1
            limit 1
        )
    end as full_since
from unnest($3::text[], $4::text[], $5::text[], $6::integer[], $7::interval[])
    with ordinality as w (counted, name, target_key, runs, per, position)
order by w.position

-- name: track_record
select count(*) as runs, count(*) filter (where newest.verification = 'verified') as verified
from (
    select r.verification
    from runs r
    where r.playbook = $1 and r.id <> $2 and r.started_at is not null
        and r.status in ('completed', 'failed', 'ambiguous')
        and exists (select from run_targets o where o.run_id = r.id)
    order by r.ended_at desc, r.id
    limit $3
) as newest
