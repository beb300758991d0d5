-- name: share_pause
-- Beside the row lock, because row locks are not fair: without it new readers could keep the switch waiting for ever.
select pg_advisory_xact_lock_shared($1)

-- name: take_pause
select pg_advisory_xact_lock($1)

-- name: pause_state
select engaged, by, reason, at
from pause
for share

-- name: set_pause
update pause
set engaged = $1, by = $2, reason = $3, at = $4

-- name: set_hold
insert into holds (service, until, by, reason)
values ($1, $2, $3, $4)
on conflict (service) do update set until = excluded.until, by = excluded.by, reason = excluded.reason

-- name: watchdog_seen
insert into watchdogs (source, last_seen_at)
values ($1, $2)
on conflict (source) do update
set last_seen_at = greatest(watchdogs.last_seen_at, excluded.last_seen_at), missing = false

-- name: watchdog_expected
insert into watchdogs (source, last_seen_at)
select source, $2
from unnest($1::text[]) as heard (source)
on conflict (source) do nothing

-- name: watchdogs_missing
update watchdogs
set missing = true
where last_seen_at < $1 and not missing
returning source

-- name: first_time
insert into inbound_events (key, received_at)
values ($1, $2)
on conflict (key) do nothing

-- name: take_slots
insert into inbound_events (key, received_at)
select slot.key, $4
from (select $1 || number as key, number from generate_series(1, $2::integer) as number) as slot
where not exists (select from inbound_events e where e.key = slot.key)
order by slot.number
limit $3
on conflict (key) do nothing

-- name: serialise
select pg_advisory_xact_lock(hashtextextended($1, 0))
