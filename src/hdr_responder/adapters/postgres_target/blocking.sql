-- Selects from lock_graph.sql and verdicts.sql: the roots and the waiting sessions of this database, from one snapshot.
-- A prepared transaction has no backend; its name is found by the lock that it holds and the waiting session wants.
here as materialized (
    select activity.*, waiting.since as waiting_since, waiting.lock as wanted_lock
    from waiting
    join pg_stat_activity as activity on activity.pid = waiting.pid
    where activity.datname = current_database()
),
root as (
    select reach.root as pid, count(*) as waiting
    from reach
    join here on here.pid = reach.pid
    group by reach.root
),
prepared as (
    select xact.gid, xact.owner, xact.prepared, count(distinct wanted.leader) as waiting, min(wanted.since) as since
    from edge
    join here on here.pid = edge.waiter
    join ungranted as wanted on wanted.leader = edge.waiter
    join lock as held
        on held.pid is null
        and (held.locktype, held.database, held.relation, held.page, held.tuple, held.virtualxid, held.transactionid,
             held.classid, held.objid, held.objsubid)
            is not distinct from
            (wanted.locktype, wanted.database, wanted.relation, wanted.page, wanted.tuple, wanted.virtualxid,
             wanted.transactionid, wanted.classid, wanted.objid, wanted.objsubid)
    join lock as own
        on own.pid is null
        and own.locktype = 'transactionid'
        and own.virtualtransaction = held.virtualtransaction
    join pg_prepared_xacts as xact on xact.transaction = own.transactionid
    where edge.blocker = 0
    group by xact.gid, xact.owner, xact.prepared
)
select
    'root' as kind, pid, backend_start, xact_start, query_start, coalesce(usename::text, '') as usename,
    coalesce(application_name, '') as application_name, coalesce(state, '') as state,
    left(coalesce(query, ''), 1000) as query, since,
    greatest(coalesce(extract(epoch from clock_timestamp() - since)::float8, 0), 0) as seconds,
    root.waiting, '' as lock, '{}'::text[] as blocked_by, '' as gid, coalesce(refusal, '') as refusal
from judged
join root using (pid)
union all
select
    'root', 0, null, null, null, owner::text, '', 'prepared', '', since,
    greatest(extract(epoch from clock_timestamp() - since)::float8, 0),
    waiting, '', '{}', gid, 'prepared transaction: no signal ends it, only COMMIT or ROLLBACK PREPARED'
from prepared
union all
select
    'waiting', pid, backend_start, xact_start, query_start, coalesce(usename::text, ''),
    coalesce(application_name, ''), coalesce(state, ''), left(coalesce(query, ''), 1000), waiting_since,
    greatest(extract(epoch from clock_timestamp() - waiting_since)::float8, 0),
    0, wanted_lock,
    coalesce((select array_agg(blocker::text order by blocker) from edge where edge.waiter = here.pid), '{}'), '', ''
from here
order by kind, seconds desc, pid
