-- name: add
insert into artifacts (id, incident_id, run_id, step_id, name, media_type, size, sha256, path, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: of_incident
select *
from artifacts
where incident_id = $1
order by created_at, id

-- name: get
select *
from artifacts
where id = $1
