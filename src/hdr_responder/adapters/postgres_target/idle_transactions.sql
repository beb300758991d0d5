-- Sessions that hold a transaction open and do nothing in it, the oldest 20; ``total`` counts all.
select
    pid, coalesce(usename::text, '') as usename, coalesce(application_name, '') as application_name,
    extract(epoch from clock_timestamp() - state_change)::float8 as seconds,
    count(*) over () as total
from pg_stat_activity
where backend_type = 'client backend' and state in ('idle in transaction', 'idle in transaction (aborted)')
order by state_change, pid
limit 20
