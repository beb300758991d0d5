-- Which of the parameters ($2) our role may write with ALTER SYSTEM ($1), from PostgreSQL 15 on.
select verb, resource
from unnest($1::text[], $2::text[]) as wanted (verb, resource)
where has_parameter_privilege(current_user, resource, verb)
