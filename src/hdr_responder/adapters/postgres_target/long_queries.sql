-- What clients have run in this database for longer than $1, the longest $2 of them; ``total`` counts all.
select
    pid, backend_start, query_start, xact_start, coalesce(usename::text, '') as usename,
    coalesce(application_name, '') as application_name,
    coalesce(wait_event_type || ': ' || wait_event, '') as wait,
    extract(epoch from clock_timestamp() - query_start)::float8 as seconds,
    left(coalesce(query, ''), 1000) as query,
    count(*) over () as total
from pg_stat_activity
where datname = current_database()
    and backend_type = 'client backend'
    and state = 'active'
    and pid <> pg_backend_pid()
    and clock_timestamp() - query_start > $1::interval
order by query_start, pid
limit $2
