-- A parameter as it is in force for this session, and what ALTER SYSTEM wrote for it.
select
    parameter.name, parameter.setting, coalesce(parameter.unit, '') as unit, parameter.vartype, parameter.context,
    parameter.source, parameter.min_val::float8 as minimum, parameter.max_val::float8 as maximum,
    coalesce(parameter.enumvals, '{}') as choices,
    file.setting as written, coalesce(file.applied and file.error is null, true) as applied
from pg_settings as parameter
left join lateral (
    select setting, applied, error
    from pg_file_settings
    where lower(name) = lower(parameter.name) and sourcefile ~ '[/\\]postgresql\.auto\.conf$'
    order by seqno desc
    limit 1
) as file on true
where parameter.name = $1
