-- name: append
insert into timeline (incident_id, at, kind, actor, summary, detail, run_id)
select incident_id, at, kind, actor, summary, detail, run_id
from jsonb_populate_recordset(null::timeline, $1::jsonb) with ordinality
order by ordinality

-- name: of_incident
select *
from timeline
where incident_id = $1 and id > $2
order by id
limit $3
