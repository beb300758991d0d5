-- Who waits for whom, for the statements that select from it. Asked of pg_locks and not of the wait events, because a
-- prepared transaction and a session of another role show up only there. Members of a parallel query count as their
-- leader, which is how pg_blocking_pids names them. At most 500 waiting sessions are followed, the oldest first:
-- pg_blocking_pids holds up the lock manager a little, and a longer queue has the same roots.
lock as materialized (
    select *
    from pg_locks
    where (not granted or pid is null) and mode <> 'SIReadLock'
),
ungranted as materialized (
    select
        coalesce(activity.leader_pid, lock.pid) as leader,
        coalesce(lock.waitstart, activity.state_change, clock_timestamp()) as since,
        lock.*
    from lock
    left join pg_stat_activity as activity on activity.pid = lock.pid
    where not lock.granted and lock.pid is not null
),
waiting as materialized (
    select
        leader as pid,
        min(since) as since,
        bool_and(locktype = 'advisory') as advisory,
        min(locktype || ' ' || mode) as lock
    from ungranted
    group by leader
),
edge as materialized (
    select distinct followed.pid as waiter, blocker.pid as blocker
    from (select pid from waiting order by since, pid limit 500) as followed
    cross join lateral unnest(pg_blocking_pids(followed.pid)) as blocker (pid)
    where blocker.pid <> followed.pid
),
reach (root, pid) as (
    select edge.blocker, edge.waiter
    from edge
    where not exists (select from waiting where waiting.pid = edge.blocker)
    union
    select reach.root, edge.waiter
    from reach
    join edge on edge.blocker = reach.pid
)
