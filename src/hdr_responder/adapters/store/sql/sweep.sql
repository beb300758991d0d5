-- name: only_one
select pg_try_advisory_xact_lock($1)

-- name: due
-- Rows that are due by themselves and that no job stands for, whatever became of the job that should have.
with due (job, key) as (
    select 'intake', ''
    where exists (select from deliveries where status = 'received' and received_at <= $2)
        or exists (select from deliveries where status = 'rejected' and processed_at is null and received_at <= $2)
    union all
    (
        select 'plan', id::text
        from incidents
        where plan_at <= $2
        order by plan_at
        limit $3
    )
    union all
    (
        select 'run', id::text
        from runs
        where status = 'running'
            and (resume_at is null or resume_at <= $1 or cancel_requested_by is not null)
            and (lease_until < clock_timestamp() or (lease_until is null and started_at <= $2))
        order by created_at
        limit $3
    )
    union all
    (
        select 'verify', id::text
        from runs
        where status = 'verifying' and next_check_at <= $1
        order by next_check_at
        limit $3
    )
    union all
    (
        select 'start', id::text
        from runs
        where status in ('awaiting_approval', 'held') and (ask_again_at <= $1 or expires_at <= $1)
        order by created_at
        limit $3
    )
    union all
    (
        select 'undo', run_id::text
        from steps
        where undo_at <= $1 and undone is null
        group by run_id
        order by min(undo_at)
        limit $3
    )
    union all
    (
        select 'deadline', id::text
        from incidents
        where status in ('triggered', 'acknowledged', 'mitigated')
            and ((page_at <= $1 and paged_at is null) or escalate_at <= $1)
        order by id
        limit $3
    )
    union all
    select 'notify_' || lane, ''
    from unnest(array['slack', 'pagerduty', 'console']) as lanes (lane)
    where exists (
        select from notifications n where n.lane = lanes.lane and n.status = 'pending' and n.due_at <= $2
    )
)
select job, key
from due
where not exists (
    select from pgqueuer q where q.entrypoint = due.job and q.payload = convert_to(due.key, 'UTF8')
)

-- name: failed_jobs
select id
from pgqueuer
where status = 'failed' and updated < clock_timestamp() - $1::interval
order by updated
limit $2
