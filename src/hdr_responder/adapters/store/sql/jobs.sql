-- name: claim_queued
-- A queued job that nobody can pick before this transaction ends, because it is locked here: it will see what is
-- committed now, so no other is needed.
select id
from pgqueuer
where entrypoint = $1 and status = 'queued' and execute_after <= clock_timestamp()
limit 1
for update skip locked
