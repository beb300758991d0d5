-- The schema and name that the relation $1 has now.
select schema.nspname as schema_name, relation.relname as name
from pg_class as relation
join pg_namespace as schema on schema.oid = relation.relnamespace
where relation.oid = $1::oid and relation.relkind = 'i'
