-- name: add
insert into notifications (incident_id, lane, kind, payload, status, created_at, due_at)
select incident_id, lane, kind, payload, 'pending', created_at, due_at
from jsonb_populate_recordset(null::notifications, $1::jsonb) with ordinality
order by ordinality

-- name: claim_due
-- Incidents that page go first, then the oldest. A row that waits, is claimed or is to be retried keeps the younger ones
-- of its incident waiting.
update notifications
set attempts = attempts + 1, due_at = $2::timestamptz + $3::interval
where id = (
    select n.id
    from notifications n
    where n.lane = $1 and n.status = 'pending' and n.due_at <= $2
        and not exists (
            select from notifications older
            where older.incident_id = n.incident_id and older.lane = n.lane and older.status = 'pending'
                and older.id < n.id
        )
    order by not exists (
        select from notifications page
        where page.incident_id = n.incident_id and page.lane = n.lane and page.status = 'pending' and page.kind = 'page'
    ), n.id
    limit 1
    for no key update skip locked
)
returning *

-- name: collapse_cards
-- The claimed card is rendered after this, from a state that includes what these were queued for.
update notifications
set status = 'superseded'
where incident_id = $1 and lane = $2 and status = 'pending' and kind = 'card' and id <> $3

-- name: mark_sent
update notifications
set status = 'sent', sent_at = $2, error = null
where id = $1 and status = 'pending'

-- name: mark_retry
update notifications
set due_at = $3, error = $2
where id = $1 and status = 'pending'

-- name: mark_failed
update notifications
set status = 'failed', sent_at = $3, error = $2
where id = $1 and status = 'pending'

-- name: tests
select lane, status, attempts, error
from notifications
where kind = 'test' and created_at = $1
order by id

-- name: message
select channel, message_id
from messages
where incident_id = $1 and lane = $2

-- name: incident_of_message
select incident_id
from messages
where channel = $1 and message_id = $2

-- name: save_message
insert into messages (incident_id, lane, channel, message_id)
values ($1, $2, $3, $4)
on conflict (incident_id, lane) do update set channel = excluded.channel, message_id = excluded.message_id
