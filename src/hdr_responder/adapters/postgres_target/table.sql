-- A table or materialised view by $1 schema and $2 name, with when somebody last ordered its upkeep.
select
    relation.oid, relation.relkind::text as kind, relation.relkind = 'p' as partitioned,
    stat.last_vacuum, stat.last_analyze,
    clock_timestamp() as now, pg_postmaster_start_time() as server_started_at
from pg_class as relation
join pg_namespace as schema on schema.oid = relation.relnamespace
left join pg_stat_all_tables as stat on stat.relid = relation.oid
where schema.nspname = $1 and relation.relname = $2
