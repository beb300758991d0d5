-- The vacuums that work in this database now.
select
    progress.pid, coalesce(schema.nspname, '') as schema_name, coalesce(relation.relname, '') as table,
    coalesce(activity.application_name, '') as application_name,
    activity.backend_type = 'autovacuum worker' as automatic,
    coalesce(progress.phase, '') as phase,
    coalesce(progress.heap_blks_scanned::float8 / nullif(progress.heap_blks_total, 0), 0) as scanned,
    coalesce(extract(epoch from clock_timestamp() - activity.xact_start)::float8, 0) as seconds
from pg_stat_progress_vacuum as progress
join pg_stat_activity as activity on activity.pid = progress.pid
left join pg_class as relation on relation.oid = progress.relid
left join pg_namespace as schema on schema.oid = relation.relnamespace
where progress.datname = current_database()
order by progress.pid
limit 50
