-- Continues lock_graph.sql: every session with the reason why it must not be signalled, or null when it may be.
-- $1 how long it must have blocked, $2 protected applications, $3 protected roles (both as patterns of ilike).
, direct as (
    select
        edge.blocker as pid,
        min(waiting.since) filter (where not waiting.advisory) as since
    from edge
    join waiting on waiting.pid = edge.waiter
    group by edge.blocker
),
judged as materialized (
    select
        activity.*,
        direct.since,
        case
            when pg_is_in_recovery() then 'the server is a standby'
            when activity.pid = pg_backend_pid() or activity.application_name = 'hdr-responder' then 'the responder itself'
            when activity.backend_type = 'walsender' then 'replication'
            when activity.backend_type <> 'client backend' then activity.backend_type
            when activity.datname is distinct from current_database() then 'another database'
            when role.rolsuper is not false then 'superuser'
            when activity.application_name ilike any ($2::text[]) then 'protected application'
            when activity.usename::text ilike any ($3::text[]) then 'protected role'
            when activity.query ~* '^\s*copy\y.*\yto\y' and activity.state = 'active' then 'backup or export (COPY ... TO)'
            when exists (select from waiting where waiting.pid = activity.pid) then 'waits itself: not the root'
            when direct.pid is null then 'blocks nobody'
            when direct.since is null then 'blocks only advisory locks, which applications hold on purpose'
            when clock_timestamp() - direct.since < $1::interval then 'has not blocked for long enough'
        end as refusal
    from pg_stat_activity as activity
    left join pg_roles as role on role.oid = activity.usesysid
    left join direct on direct.pid = activity.pid
)
