-- Selects from protected.sql: re-checks identity and rules of one query and cancels it if it passes, in this one
-- statement. $1 how long it must have run, $4 pid, $5 and $6 the starts of its backend and query, $7 false to rehearse.
verdict as materialized (
    select
        wanted.pid,
        protected.pid is null
            or protected.backend_start is distinct from $5::timestamptz
            or protected.query_start is distinct from $6::timestamptz
            or protected.state is distinct from 'active' as gone,
        case
            when protected.protection is not null then protected.protection
            when protected.query ~* '\yconcurrently\y' and protected.query ~* '^\s*(create|drop|reindex|refresh|alter)\y'
                then 'works on an index concurrently: cancelled, it leaves an invalid one'
            when clock_timestamp() - protected.query_start < $1::interval then 'has not run for long enough'
            else ''
        end as refusal
    from (select $4::int4 as pid) as wanted
    left join protected on protected.pid = wanted.pid
)
select
    gone,
    case when gone then '' else refusal end as refusal,
    case when gone or refusal <> '' or not $7::bool then false else pg_cancel_backend(pid) end as sent
from verdict
