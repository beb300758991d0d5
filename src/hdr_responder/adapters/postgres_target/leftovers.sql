-- Invalid indexes of the table $1, unless somebody builds an index on it now.
select index.oid, schema.nspname as schema_name, index.relname as name
from pg_index as entry
join pg_class as index on index.oid = entry.indexrelid
join pg_namespace as schema on schema.oid = index.relnamespace
where entry.indrelid = $1::oid
    and not entry.indisvalid
    and not exists (select from pg_stat_progress_create_index as progress where progress.relid = $1::oid)
order by index.relname
limit 50
