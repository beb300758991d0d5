-- The largest $1 tables and materialised views of this database.
select
    schema.nspname as schema_name, relation.relname as table,
    size.total as total_bytes, size.heap as table_bytes, size.indexes as index_bytes,
    greatest(size.total - size.heap - size.indexes, 0) as toast_bytes,
    greatest(relation.reltuples, 0)::int8 as rows
from pg_class as relation
join pg_namespace as schema on schema.oid = relation.relnamespace
cross join lateral (
    select
        pg_total_relation_size(relation.oid) as total, pg_relation_size(relation.oid) as heap,
        pg_indexes_size(relation.oid) as indexes
) as size
where relation.relkind in ('r', 'm') and schema.nspname !~ '^pg_' and schema.nspname <> 'information_schema'
    and size.total is not null
order by size.total desc, 1, 2
limit $1
