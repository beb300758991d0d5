-- The slowest statements of this database; {schema} is where pg_stat_statements is, quoted by the server.
-- $1 `total` or `mean`, $2 least calls, $3 how many.
with statement as (
    select found.*, sum(found.total_exec_time) over () as all_time
    from {schema}.pg_stat_statements as found
    where found.dbid = (select oid from pg_database where datname = current_database())
)
select
    coalesce(queryid::text, '') as query_id, coalesce(role.rolname::text, '') as usename, calls,
    total_exec_time as total_ms, mean_exec_time as mean_ms, max_exec_time as max_ms, rows,
    case when all_time > 0 then total_exec_time / all_time else 0 end as share,
    shared_blks_hit::float8 / nullif(shared_blks_hit + shared_blks_read, 0) as cache_hit_ratio,
    temp_blks_written as temp_blocks,
    left(coalesce(query, ''), 1000) as query,
    (select stats_reset from {schema}.pg_stat_statements_info) as reset_at
from statement
left join pg_roles as role on role.oid = userid
where calls >= $2
order by case $1::text when 'mean' then mean_exec_time else total_exec_time end desc, queryid
limit $3
