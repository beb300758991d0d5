-- name: history
select a.*
from unnest($1::text[], $2::text[]) as asked (source, fingerprint)
join alerts a using (source, fingerprint)
where a.status = 'firing' or a.ends_at >= $3

-- name: new_ids
select nextval(pg_get_serial_sequence('alerts', 'id')) from generate_series(1, $1::integer)

-- name: insert
insert into alerts (id, incident_id, source, fingerprint, correlation, labels, annotations, generator_url, status, starts,
    starts_at, ends_at, seen_firing, uncertain, first_received_at, last_received_at, received_count)
overriding system value
select id, incident_id, source, fingerprint, correlation, labels, annotations, generator_url, status, starts,
    starts_at, ends_at, seen_firing, uncertain, first_received_at, last_received_at, received_count
from jsonb_populate_recordset(null::alerts, $1::jsonb)

-- name: update
update alerts a
set incident_id = n.incident_id,
    labels = n.labels,
    annotations = n.annotations,
    generator_url = n.generator_url,
    status = n.status,
    starts = n.starts,
    starts_at = n.starts_at,
    ends_at = n.ends_at,
    seen_firing = n.seen_firing,
    uncertain = n.uncertain,
    first_received_at = n.first_received_at,
    last_received_at = n.last_received_at,
    received_count = n.received_count,
    absent_since = case when n.last_received_at > a.last_received_at or n.status = 'resolved' then null else a.absent_since end
from jsonb_populate_recordset(null::alerts, $1::jsonb) as n
where a.id = n.id

-- name: totals
select incident_id,
    count(*) as total,
    count(*) filter (where status = 'firing') as firing,
    min(starts_at) as first_starts_at,
    max(ends_at) as last_ends_at
from alerts
where incident_id = any ($1::bigint[])
group by incident_id

-- name: of_incident
select *
from alerts
where incident_id = $1 and (not $2 or status = 'firing')
order by status, id
limit $3

-- name: quiet
select *
from alerts
where status = 'firing' and last_received_at < $1
order by asked_at nulls first, last_received_at
limit $2

-- name: mark_absent
update alerts
set asked_at = clock_timestamp(),
    absent_since = case when $2::timestamptz is not null then coalesce(absent_since, $2) end
where id = any ($1::bigint[]) and status = 'firing'

-- name: absent
select *
from alerts
where status = 'firing' and (absent_since <= $1 or last_received_at <= $2)
order by last_received_at
limit $3

-- name: page
select *
from alerts
where incident_id = $1 and ($2::bigint is null or id > $2)
order by id
limit $3
