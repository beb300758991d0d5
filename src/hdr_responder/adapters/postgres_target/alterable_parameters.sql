-- The parameters that our role may write with ALTER SYSTEM though it is no superuser, from PostgreSQL 15 on.
select parname as name
from pg_parameter_acl
where has_parameter_privilege(current_user, parname, 'alter system')
    and not (select rolsuper from pg_roles where rolname = current_user)
order by parname
