-- name: deliveries
delete from deliveries
where id in (
    select id from deliveries where received_at < $1 and processed_at is not null order by received_at limit $2
)

-- name: notifications
delete from notifications
where id in (
    select id from notifications where created_at < $1 and status <> 'pending' order by created_at limit $2
)

-- name: inbound_events
delete from inbound_events
where key in (select key from inbound_events where received_at < $1 order by received_at limit $2)

-- name: job_log
delete from pgqueuer_log
where id in (select id from pgqueuer_log where created < $1 order by created limit $2)

-- name: failed_jobs
delete from pgqueuer
where id in (select id from pgqueuer where status = 'failed' and created < $1 order by id limit $2)
