-- Whether the query of $1 pid, $2 start of its backend and $3 its own still runs.
select exists (
    select
    from pg_stat_activity
    where pid = $1::int4 and backend_start = $2::timestamptz and query_start = $3::timestamptz and state = 'active'
) as running
