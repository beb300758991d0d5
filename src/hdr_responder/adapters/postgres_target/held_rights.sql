-- Which of the rights ($1 verbs, $2 resources) our role holds. Names are looked up in the catalogs and not by to_regclass,
-- which fails for a schema that we may not use. Before PostgreSQL 17 there is no MAINTAIN: ownership stands for it.
with wanted as (
    select distinct verb, resource, case when verb in ('select', 'owner', 'maintain') then parse_ident(resource) end as path
    from unnest($1::text[], $2::text[]) as wanted (verb, resource)
),
found as (
    select wanted.*, relation.oid as relation, relation.relowner as owner
    from wanted
    left join pg_namespace as schema on schema.nspname = wanted.path[1]
    left join pg_class as relation on relation.relnamespace = schema.oid and relation.relname = wanted.path[2]
)
select verb, resource
from found
where
    case
        when resource = '' then
            exists (select from pg_roles where rolname = verb and pg_has_role(current_user, oid, 'usage'))
        when verb = 'execute' then has_function_privilege(current_user, to_regprocedure(resource), 'execute')
        when verb in ('usage', 'create') then
            exists (
                select from pg_namespace
                where nspname = (parse_ident(resource))[1] and has_schema_privilege(current_user, oid, verb)
            )
        when verb = 'select' then has_table_privilege(current_user, relation, 'select')
        when verb = 'maintain' and current_setting('server_version_num')::int >= 170000 then
            has_table_privilege(current_user, relation, 'maintain')
        when verb in ('owner', 'maintain') then pg_has_role(current_user, owner, 'usage')
    end
