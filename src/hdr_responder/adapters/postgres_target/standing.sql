-- Selects from lock_graph.sql: what became of the sessions that $1 identifies.
wanted as (
    select *
    from jsonb_to_recordset($1::jsonb) as wanted (pid int4, backend_start timestamptz, xact_start timestamptz)
)
select
    wanted.pid,
    wanted.backend_start,
    wanted.xact_start,
    activity.pid is not null as connected,
    activity.pid is not null and activity.xact_start is not distinct from wanted.xact_start as in_transaction,
    activity.pid is not null
        and activity.xact_start is not distinct from wanted.xact_start
        and exists (select from edge where edge.blocker = wanted.pid) as blocking
from wanted
left join pg_stat_activity as activity
    on activity.pid = wanted.pid and activity.backend_start = wanted.backend_start
