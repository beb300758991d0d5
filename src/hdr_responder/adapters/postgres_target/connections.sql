-- How many clients of the whole server have a state, an application or a role in common, at most 20 groups of a kind.
with named as (
    select kind.name as kind, coalesce(kind.value, '') as name
    from pg_stat_activity as activity
    cross join lateral (
        values ('state', activity.state), ('application', activity.application_name), ('role', activity.usename::text)
    ) as kind (name, value)
    where activity.backend_type = 'client backend'
),
counted as (
    select kind, name, count(*) as connections, row_number() over (partition by kind order by count(*) desc, name) as place
    from named
    group by kind, name
)
select kind, name, connections
from counted
where place <= 20
order by kind, place
