-- What our role could do that an intruder would use: its attributes and those of roles it can become, the predefined
-- roles that reach data or the system, what it owns, and tables that it may write without owning them. Of a superuser
-- only the attributes are told: the rest follows.
with own as (
    select * from pg_roles where rolname = current_user
),
mine as (
    select role.*
    from pg_roles as role, own
    where role.oid = own.oid or (not own.rolsuper and pg_has_role(own.oid, role.oid, 'member'))
),
relation as (
    select class.oid, class.relowner, schema.nspname, class.relname
    from pg_class as class
    join pg_namespace as schema on schema.oid = class.relnamespace
    where class.relkind in ('r', 'p', 'm', 'v', 'f') and schema.nspname !~ '^pg_' and schema.nspname <> 'information_schema'
)
select 1 as place, 'attribute' as kind, '' as schema_name, attribute.name
from (
    select bool_or(rolsuper) as super, bool_or(rolcreaterole) as createrole, bool_or(rolcreatedb) as createdb,
        bool_or(rolreplication) as replication, bool_or(rolbypassrls) as bypassrls
    from mine
) as attributes
cross join lateral (
    values ('superuser', super), ('createrole', createrole), ('createdb', createdb), ('replication', replication),
        ('bypassrls', bypassrls)
) as attribute (name, held)
where attribute.held
union all
select 2, 'role', '', rolname
from mine
where rolname in (
    'pg_read_all_data', 'pg_write_all_data', 'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files',
    'pg_create_subscription'
)
union all
select 3, 'database', '', datname
from pg_database, own
where not own.rolsuper and datname = current_database() and datdba in (select oid from mine)
union all
select 4, 'schema', '', nspname
from pg_namespace, own
where not own.rolsuper and nspowner in (select oid from mine where rolname <> 'pg_database_owner')
union all
select 5, 'owner', nspname, relname
from relation, own
where not own.rolsuper and relowner in (select oid from mine)
union all
select 6, 'write', nspname, relname
from relation, own
where not own.rolsuper
    and relowner not in (select oid from mine)
    and has_table_privilege(current_user, relation.oid, 'insert, update, delete, truncate')
order by place, schema_name, name
limit 200
