-- An index by $1 schema and $2 name. A plain one is a B-tree over all rows with default operators that enforces nothing
-- and adds no columns; its columns are told unless it indexes expressions.
select
    index.oid, index.relkind::text as kind, schema.nspname as schema_name, index.relname as name,
    entry.indrelid as table_oid, relation.relname as table,
    coalesce(entry.indisvalid and entry.indisready and entry.indislive, false) as valid,
    index.relkind = 'I' as partitioned,
    coalesce(
        method.amname = 'btree' and not entry.indisunique and not entry.indisexclusion and entry.indpred is null
        and entry.indnatts = entry.indnkeyatts
        and not exists (
            select
            from unnest(entry.indclass::oid[], entry.indoption::int2[]) as key (class, option)
            join pg_opclass as class on class.oid = key.class
            where not class.opcdefault or key.option not in (0, 3)
        ), false
    ) as plain,
    case when entry.indexprs is null then (
        select array_agg(attribute.attname::text order by key.place)
        from unnest(entry.indkey::int2[]) with ordinality as key (attnum, place)
        join pg_attribute as attribute on attribute.attrelid = entry.indrelid and attribute.attnum = key.attnum
    ) end as columns,
    (select array_agg(option = 3 order by place) from unnest(entry.indoption::int2[]) with ordinality as key (option, place))
        as descending,
    coalesce(obj_description(index.oid, 'pg_class'), '') as comment,
    coalesce(pg_relation_size(index.oid), 0) as bytes
from pg_class as index
join pg_namespace as schema on schema.oid = index.relnamespace
left join pg_index as entry on entry.indexrelid = index.oid
left join pg_class as relation on relation.oid = entry.indrelid
left join pg_am as method on method.oid = index.relam
where schema.nspname = $1 and index.relname = $2
