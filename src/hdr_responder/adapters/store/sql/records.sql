-- name: oldest_waiting_delivery
select received_at
from deliveries
where status = 'received'
order by id
limit 1

-- name: queue_depth
select entrypoint, count(*) as jobs
from pgqueuer
where status = 'queued' and execute_after <= clock_timestamp()
group by entrypoint

-- name: open_incidents
select priority, count(*) as incidents
from incidents
where status in ('triggered', 'acknowledged', 'mitigated')
group by priority

-- name: oldest_notification
select lane, min(created_at) as created_at
from notifications
where status = 'pending'
group by lane

-- name: paused
select engaged
from pause
