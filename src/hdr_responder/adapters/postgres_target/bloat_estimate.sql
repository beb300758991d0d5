-- How large the $1 largest tables and B-tree indexes would be by the planner's statistics, were they packed. pg_stats
-- shows only columns that we may read; what lacks a column's width, and what was never analyzed, gets no answer.
with block as (
    select current_setting('block_size')::int as size
),
relation as (
    select class.oid, class.relname, class.reltuples, class.reloptions, schema.nspname
    from pg_class as class
    join pg_namespace as schema on schema.oid = class.relnamespace
    where class.relkind in ('r', 'm') and schema.nspname !~ '^pg_' and schema.nspname <> 'information_schema'
),
width as (
    select relation.oid, attribute.attnum, (1 - stats.null_frac) * stats.avg_width as bytes
    from relation
    join pg_attribute as attribute
        on attribute.attrelid = relation.oid and attribute.attnum > 0 and not attribute.attisdropped
    left join pg_stats as stats
        on stats.schemaname = relation.nspname and stats.tablename = relation.relname
        and stats.attname = attribute.attname and not stats.inherited
),
heap as (
    select oid, sum(bytes) as width, bool_and(bytes is not null) as known
    from width
    group by oid
),
tables as (
    select
        relation.nspname, relation.relname, '' as index, pg_relation_size(relation.oid) as bytes,
        case when heap.known and relation.reltuples >= 0 then
            ceil(
                relation.reltuples * (28 + 8 * ceil(heap.width / 8))
                / ((block.size - 24) * coalesce(substring(relation.reloptions::text from 'fillfactor=(\d+)')::int, 100) / 100.0)
            ) * block.size
        end as packed
    from relation
    join heap on heap.oid = relation.oid
    cross join block
    order by bytes desc nulls last
    limit $1
),
indexes as (
    select
        relation.nspname, relation.relname, index.relname as index, pg_relation_size(index.oid) as bytes,
        case when index.reltuples >= 0 and keys.known then
            (
                1 + ceil(
                    index.reltuples * (12 + 8 * ceil(keys.width / 8))
                    / ((block.size - 40) * coalesce(substring(index.reloptions::text from 'fillfactor=(\d+)')::int, 90) / 100.0)
                )
            ) * block.size
        end as packed
    from pg_index as entry
    join relation on relation.oid = entry.indrelid
    join pg_class as index on index.oid = entry.indexrelid and index.relkind = 'i'
    join pg_am as method on method.oid = index.relam and method.amname = 'btree'
    cross join block
    cross join lateral (
        select sum(width.bytes) as width, bool_and(width.bytes is not null) as known
        from unnest(entry.indkey::int2[]) as key (attnum)
        left join width on width.oid = relation.oid and width.attnum = key.attnum
    ) as keys
    order by bytes desc nulls last
    limit $1
)
select nspname as schema_name, relname as table, index, bytes, (case when packed > bytes then 0 else bytes - packed end)::int8 as wasted_bytes
from (select * from tables union all select * from indexes) as judged
where bytes is not null
order by wasted_bytes desc nulls last, bytes desc, 1, 2, 3
