-- Selects from lock_graph.sql and protected.sql: every session with the reason why it must not be signalled for blocking
-- others, or null when it may be. $1 how long it must have blocked.
direct as (
    select
        edge.blocker as pid,
        min(waiting.since) filter (where not waiting.advisory) as since
    from edge
    join waiting on waiting.pid = edge.waiter
    group by edge.blocker
),
judged as materialized (
    select
        protected.*,
        direct.since,
        case
            when protected.protection is not null then protected.protection
            when exists (select from waiting where waiting.pid = protected.pid) then 'waits itself: not the root'
            when direct.pid is null then 'blocks nobody'
            when direct.since is null then 'blocks only advisory locks, which applications hold on purpose'
            when clock_timestamp() - direct.since < $1::interval then 'has not blocked for long enough'
        end as refusal
    from protected
    left join direct on direct.pid = protected.pid
)
