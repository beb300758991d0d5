-- The $1 tables with most dead rows, with the age of their oldest row in transactions.
select
    stat.schemaname as schema_name, stat.relname as table,
    stat.n_live_tup as live_rows, stat.n_dead_tup as dead_rows,
    coalesce(stat.n_dead_tup::float8 / nullif(stat.n_live_tup + stat.n_dead_tup, 0), 0) as dead_ratio,
    stat.n_mod_since_analyze as changed_since_analyze,
    stat.last_vacuum, stat.last_autovacuum, stat.last_analyze, stat.last_autoanalyze,
    age(relation.relfrozenxid) as xid_age
from pg_stat_user_tables as stat
join pg_class as relation on relation.oid = stat.relid
where relation.relkind in ('r', 'm')
order by stat.n_dead_tup desc, age(relation.relfrozenxid) desc, 1, 2
limit $1
