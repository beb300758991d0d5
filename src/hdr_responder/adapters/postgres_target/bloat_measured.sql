-- What the $1 largest tables and B-tree indexes waste, measured; {schema} is where pgstattuple is, quoted by the server.
-- Of an index, space that a fresh one leaves free on purpose (a tenth of each leaf) is no waste.
with relation as (
    select class.oid, class.relname, schema.nspname, class.relkind
    from pg_class as class
    join pg_namespace as schema on schema.oid = class.relnamespace
    where schema.nspname !~ '^pg_' and schema.nspname <> 'information_schema'
),
tables as materialized (
    select oid, nspname, relname, pg_relation_size(oid) as bytes
    from relation
    where relkind in ('r', 'm')
    order by bytes desc nulls last
    limit $1
),
indexes as materialized (
    select index.oid, relation.nspname, relation.relname, index.relname as index, pg_relation_size(index.oid) as bytes
    from pg_index as entry
    join relation on relation.oid = entry.indrelid
    join pg_class as index on index.oid = entry.indexrelid and index.relkind = 'i'
    join pg_am as method on method.oid = index.relam and method.amname = 'btree'
    where entry.indisvalid
    order by bytes desc nulls last
    limit $1
)
select
    nspname as schema_name, relname as table, '' as index, bytes,
    (found.approx_free_space + found.dead_tuple_len)::int8 as wasted_bytes
from tables
cross join lateral {schema}.pgstattuple_approx(tables.oid) as found
union all
select
    nspname, relname, index, bytes,
    (
        current_setting('block_size')::int * (
            found.deleted_pages + found.empty_pages
            + found.leaf_pages * greatest(0, 1 - coalesce(nullif(found.avg_leaf_density, 'NaN'), 90) / 90)
        )
    )::int8
from indexes
cross join lateral {schema}.pgstatindex(indexes.oid::regclass) as found
order by wasted_bytes desc, bytes desc, 1, 2, 3
