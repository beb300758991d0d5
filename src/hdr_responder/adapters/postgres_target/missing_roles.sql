select wanted.role
from unnest($1::text[]) with ordinality as wanted (role, place)
left join pg_roles on pg_roles.rolname = wanted.role
where pg_roles.oid is null or not pg_has_role(current_user, pg_roles.oid, 'usage')
order by wanted.place
