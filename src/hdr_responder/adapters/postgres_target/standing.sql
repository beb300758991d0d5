-- Continues lock_graph.sql: what became of the sessions that $1 to $3 identify.
select
    wanted.pid,
    wanted.backend_start,
    wanted.xact_start,
    activity.pid is not null as connected,
    activity.pid is not null and activity.xact_start is not distinct from wanted.xact_start as in_transaction,
    activity.pid is not null
        and activity.xact_start is not distinct from wanted.xact_start
        and exists (select from edge where edge.blocker = wanted.pid) as blocking
from unnest($1::int4[], $2::timestamptz[], $3::timestamptz[]) as wanted (pid, backend_start, xact_start)
left join pg_stat_activity as activity
    on activity.pid = wanted.pid and activity.backend_start = wanted.backend_start
