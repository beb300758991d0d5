-- Selects from lock_graph.sql and verdicts.sql: re-checks identity and safety of every wanted session and signals
-- those that pass, in this one statement. $4 the identities, $5 `cancel`, `terminate` or `none`. Cancelling ends a running
-- query; a session that idles in its transaction has none, so it is terminated at once.
wanted as (
    select *
    from jsonb_to_recordset($4::jsonb) as wanted (pid int4, backend_start timestamptz, xact_start timestamptz)
),
verdict as materialized (
    select
        wanted.*,
        wanted.pid <> 0 and (
            judged.pid is null
            or judged.backend_start is distinct from wanted.backend_start
            or judged.xact_start is distinct from wanted.xact_start
        ) as gone,
        case when wanted.pid = 0 then 'prepared transaction' else coalesce(judged.refusal, '') end as refusal,
        case when $5::text = 'cancel' and judged.state <> 'active' then 'terminate' else $5::text end as method
    from wanted
    left join judged on judged.pid = wanted.pid
)
select
    pid, backend_start, xact_start, gone, case when gone then '' else refusal end as refusal, method,
    case
        when gone or refusal <> '' or method = 'none' then false
        when method = 'cancel' then pg_cancel_backend(pid)
        when method = 'terminate' then pg_terminate_backend(pid)
    end as sent
from verdict
