-- Where an extension is in this database: its schema as SQL reads it, and its version.
select quote_ident(schema.nspname) as schema, string_to_array(extversion, '.')::int[] as version
from pg_extension
join pg_namespace as schema on schema.oid = extnamespace
where extname = $1
