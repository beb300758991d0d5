-- Every session with the reason why nobody may signal it whatever it does, or null when none protects it.
-- $2 protected applications, $3 protected roles (both as patterns of ilike).
protected as materialized (
    select
        activity.*,
        case
            when pg_is_in_recovery() then 'the server is a standby'
            when activity.pid = pg_backend_pid()
                or activity.application_name = 'hdr-responder'
                or activity.application_name like 'hdr-responder/%' then 'the responder itself'
            when activity.backend_type = 'walsender' then 'replication'
            when activity.backend_type <> 'client backend' then activity.backend_type
            when activity.datname is distinct from current_database() then 'another database'
            when role.rolsuper is not false then 'superuser'
            when activity.application_name ilike any ($2::text[]) then 'protected application'
            when activity.usename::text ilike any ($3::text[]) then 'protected role'
            when activity.query ~* '^\s*copy\y.*\yto\y' and activity.state = 'active' then 'backup or export (COPY ... TO)'
        end as protection
    from pg_stat_activity as activity
    left join pg_roles as role on role.oid = activity.usesysid
)
