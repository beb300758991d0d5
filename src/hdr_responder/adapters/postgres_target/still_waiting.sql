-- Selects from lock_graph.sql: which of the waits that $1 identifies go on. A wait is a session in one query; a later
-- query of the same session that waits anew is another wait.
wanted as (
    select *
    from jsonb_to_recordset($1::jsonb) as wanted (pid int4, backend_start timestamptz, query_start timestamptz)
)
select wanted.pid, wanted.backend_start
from wanted
join pg_stat_activity as activity
    on activity.pid = wanted.pid
    and activity.backend_start = wanted.backend_start
    and activity.query_start is not distinct from wanted.query_start
join waiting on waiting.pid = wanted.pid
