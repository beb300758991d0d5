-- Continues lock_graph.sql: which of the waits that $1 to $3 identify go on. A wait is a session in one query; a later
-- query of the same session that waits anew is another wait.
select wanted.pid, wanted.backend_start
from unnest($1::int4[], $2::timestamptz[], $3::timestamptz[]) as wanted (pid, backend_start, query_start)
join pg_stat_activity as activity
    on activity.pid = wanted.pid
    and activity.backend_start = wanted.backend_start
    and activity.query_start is not distinct from wanted.query_start
join waiting on waiting.pid = wanted.pid
