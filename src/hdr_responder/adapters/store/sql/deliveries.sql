-- name: pending
select exists (select from deliveries where status = 'received') as waiting,
    exists (select from deliveries where status = 'rejected' and processed_at is null) as rejects

-- name: waiting
-- The oldest, as many as fit: each body is some ten times its size while it is worked on.
with oldest as (
    select id, octet_length(body) as size
    from deliveries
    where status = 'received'
    order by id
    limit $1
), summed as (
    select id, sum(size) over (order by id) - size as before
    from oldest
)
select id, source, received_at, body, status, error
from deliveries
where status = 'received' and id in (select id from summed where before < $2)
order by id
for no key update skip locked

-- name: unreported_rejects
select id, source, received_at, body, status, error
from deliveries
where status = 'rejected' and processed_at is null
order by id
limit $1
for no key update skip locked

-- name: mark_processed
update deliveries
set processed_at = $2, status = case status when 'received' then 'processed' else status end
where id = any ($1::bigint[])

-- name: park
update deliveries
set status = 'parked', error = $2, error_field = $3, processed_at = $4
where id = $1

-- name: replay
update deliveries
set status = 'received', processed_at = null, error = null, error_field = null
where id = $1 and status in ('parked', 'rejected')

-- name: status
select status
from deliveries
where id = $1

-- name: store
insert into deliveries (source, received_at, body, status)
select source, received_at, body, 'received'
from unnest($1::text[], $2::timestamptz[], $3::bytea[]) as new (source, received_at, body)

-- name: reject
insert into deliveries (source, received_at, body, status, error, error_field)
values ($1, $2, $3, 'rejected', $4, $5)
on conflict (source, sha256(body)) where status = 'rejected' do nothing

-- name: page
select id, source, received_at, ''::bytea as body, status, error
from deliveries
where (cardinality($1::text[]) = 0 or status = any ($1)) and ($2::bigint is null or id < $2)
order by id desc
limit $3

-- name: get
select id, source, received_at, body, status, error
from deliveries
where id = $1
