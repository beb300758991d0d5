-- The largest $1 indexes of this database.
select
    schema.nspname as schema_name, relation.relname as table, index.relname as index,
    size.bytes, coalesce(pg_stat_get_numscans(index.oid), 0) as scans, entry.indisvalid as valid
from pg_index as entry
join pg_class as index on index.oid = entry.indexrelid
join pg_class as relation on relation.oid = entry.indrelid
join pg_namespace as schema on schema.oid = index.relnamespace
cross join lateral (select pg_relation_size(index.oid) as bytes) as size
where index.relkind = 'i' and schema.nspname !~ '^pg_' and schema.nspname <> 'information_schema'
    and size.bytes is not null
order by size.bytes desc, 1, 3
limit $1
