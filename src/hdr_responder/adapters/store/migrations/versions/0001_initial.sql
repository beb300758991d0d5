-- Raw deliveries: kept as they came, so that nothing is lost between the answer and the records (bounded by retention).
create table deliveries (
    id           bigint generated always as identity primary key,
    source       text not null,
    received_at  timestamptz not null,
    body         bytea not null,
    status       text not null check (status in ('received', 'processed', 'parked', 'rejected')),
    processed_at timestamptz,
    error        text,
    error_field  text
);
create index deliveries_waiting on deliveries (id) where status = 'received';
-- A rejected body that its sender repeats for hours is kept once.
create unique index deliveries_rejected_once on deliveries (source, sha256(body)) where status = 'rejected';
create index deliveries_unreported on deliveries (id) where status = 'rejected' and processed_at is null;
create index deliveries_received_at on deliveries (received_at);

create table incidents (
    id              bigint generated always as identity primary key,
    key             text not null,
    cluster         text not null,
    service         text not null,
    problem         text not null,
    title           text not null,
    priority        text not null check (priority in ('P1', 'P2', 'P3', 'P4')),
    priority_rule   text not null,
    priority_reason text not null,
    priority_set_by text,
    status          text not null check (status in ('triggered', 'acknowledged', 'mitigated', 'resolved', 'closed')),
    started_at      timestamptz not null,
    opened_at       timestamptz not null,
    acknowledged_at timestamptz,
    acknowledged_by text,
    mitigated_at    timestamptz,
    resolved_at     timestamptz,
    resolved_by     text,
    closed_at       timestamptz,
    commander       text,
    episode         integer not null default 1,
    alerts_total    integer not null default 0,
    alerts_firing   integer not null default 0,
    lower_bound     boolean not null default false,
    page_at         timestamptz,
    paged_at        timestamptz,
    escalate_at     timestamptz,
    plan_at         timestamptz
);
create unique index incidents_one_open on incidents (key) where status in ('triggered', 'acknowledged', 'mitigated');
create index incidents_key on incidents (key, id desc);
create index incidents_open_priority on incidents (priority) where status in ('triggered', 'acknowledged', 'mitigated');
create index incidents_page_at on incidents (page_at) where page_at is not null and paged_at is null;
create index incidents_plan_at on incidents (plan_at) where plan_at is not null;
create index incidents_escalate_at on incidents (escalate_at) where escalate_at is not null;
create index incidents_resolved_at on incidents (resolved_at) where status = 'resolved';

-- Occurrences of alerts, from firing to resolved.
create table alerts (
    id                bigint generated always as identity primary key,
    incident_id       bigint not null references incidents (id),
    source            text not null,
    fingerprint       text not null,
    correlation       text not null,
    labels            jsonb not null,
    annotations       jsonb not null,
    generator_url     text not null,
    status            text not null check (status in ('firing', 'resolved')),
    starts            timestamptz[] not null,
    starts_at         timestamptz not null,
    ends_at           timestamptz,
    seen_firing       boolean not null,
    uncertain         boolean not null,
    first_received_at timestamptz not null,
    last_received_at  timestamptz not null,
    received_count    bigint not null,
    absent_since      timestamptz,
    asked_at          timestamptz,
    check ((status = 'resolved') = (ends_at is not null))
);
create unique index alerts_one_firing on alerts (source, fingerprint) where status = 'firing';
create index alerts_history on alerts (source, fingerprint, ends_at);
create index alerts_incident on alerts (incident_id, id);
create index alerts_firing_last_received on alerts (last_received_at) where status = 'firing';

create table timeline (
    id          bigint generated always as identity primary key,
    incident_id bigint not null references incidents (id),
    at          timestamptz not null,
    kind        text not null,
    actor       text not null,
    summary     text not null,
    detail      jsonb not null,
    run_id      uuid
);
create index timeline_incident on timeline (incident_id, id);

create function timeline_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the timeline is append-only' using errcode = 'integrity_constraint_violation';
end
$$;
create trigger timeline_append_only before update or delete on timeline
    for each row execute function timeline_is_append_only();
create trigger timeline_no_truncate before truncate on timeline
    for each statement execute function timeline_is_append_only();

create table runs (
    id                  uuid primary key,
    incident_id         bigint not null references incidents (id),
    episode             integer not null,
    playbook            text not null,
    mode                text not null check (mode in ('observe', 'approve', 'auto')),
    status              text not null check (status in ('observed', 'awaiting_approval', 'held', 'running', 'verifying',
                            'completed', 'failed', 'ambiguous', 'cancelled', 'denied', 'expired')),
    reason              text not null,
    verification        text not null check (verification in ('none', 'pending', 'verified', 'failed', 'inconclusive')),
    plan                jsonb not null,
    trigger             text not null check (trigger in ('alert', 'person', 'schedule')),
    requested_by        text,
    created_at          timestamptz not null,
    ask_again_at        timestamptz,
    expires_at          timestamptz,
    started_at          timestamptz,
    ended_at            timestamptz,
    cancel_requested_by text,
    undo_forced_by      text,
    undo_forced_at      timestamptz,
    verify_until        timestamptz,
    holding_since       timestamptz,
    next_check_at       timestamptz,
    resume_at           timestamptz,
    gate                text not null default '',
    gate_question       text not null default '',
    fence               bigint not null default 0,
    lease_owner         text,
    lease_until         timestamptz
);
-- An alert runs a playbook at most once per episode of an incident; people and the clock may ask again.
create unique index runs_once_per_episode on runs (incident_id, episode, playbook)
    where requested_by is null and trigger <> 'schedule';
create index runs_incident on runs (incident_id, created_at);
create index runs_unfinished on runs (status) where status in ('awaiting_approval', 'held', 'running', 'verifying');
create index runs_created on runs (created_at, id);
create index runs_of_schedule on runs (incident_id) where trigger = 'schedule';
-- What budgets count, and what a playbook's record is read from.
create index runs_started on runs (started_at) where started_at is not null;
create index runs_started_of_playbook on runs (playbook, started_at) where started_at is not null;
create index runs_ended_of_playbook on runs (playbook, ended_at)
    where started_at is not null and status in ('completed', 'failed', 'ambiguous');

-- What a run locks. Kept after its end: cooldown and budget are counted from it.
create table run_targets (
    run_id       uuid not null references runs (id),
    target_key   text not null,
    effect_group text not null,
    primary key (run_id, target_key, effect_group)
);
create index run_targets_key on run_targets (target_key, effect_group);

-- One run per target, decided here and nowhere else.
create table target_locks (
    target_key text primary key,
    run_id     uuid not null references runs (id)
);
create index target_locks_run on target_locks (run_id);

create table steps (
    run_id     uuid not null references runs (id),
    position   integer not null,
    step_id    text not null,
    action     text not null,
    status     text not null check (status in ('pending', 'started', 'succeeded', 'failed', 'skipped', 'ambiguous')),
    parameters jsonb not null,
    result     jsonb,
    state      jsonb,
    error      text,
    started_at timestamptz,
    ended_at   timestamptz,
    undo_at    timestamptz,
    undone     text,
    primary key (run_id, position)
);
create index steps_undo_due on steps (undo_at) where undo_at is not null and undone is null;

create table approvals (
    run_id   uuid not null references runs (id),
    gate     text not null,
    person   text not null,
    decision text not null check (decision in ('approve', 'deny')),
    at       timestamptz not null,
    primary key (run_id, gate, person)
);

create function approvals_of(run uuid) returns jsonb stable language sql as $$
    select coalesce(jsonb_agg(jsonb_build_object('person', person, 'decision', decision, 'at', at, 'gate', gate) order by at, person), '[]')
    from approvals where run_id = run
$$;

create table artifacts (
    id          uuid primary key,
    incident_id bigint not null references incidents (id),
    run_id      uuid,
    step_id     text not null,
    name        text not null,
    media_type  text not null,
    size        bigint not null,
    sha256      bytea not null,
    path        text not null,
    created_at  timestamptz not null
);
create index artifacts_incident on artifacts (incident_id, created_at);

-- The outbox: each lane delivers its own rows, oldest first per incident.
create table notifications (
    id          bigint generated always as identity primary key,
    incident_id bigint references incidents (id),
    lane        text not null check (lane in ('slack', 'pagerduty', 'console')),
    kind        text not null check (kind in ('card', 'thread', 'page', 'page_ack', 'page_resolve', 'test')),
    payload     jsonb not null,
    status      text not null check (status in ('pending', 'sent', 'failed', 'superseded')),
    attempts    integer not null default 0,
    created_at  timestamptz not null,
    due_at      timestamptz not null,
    sent_at     timestamptz,
    error       text
);
create index notifications_pending on notifications (lane, id) where status = 'pending';
create index notifications_pending_of on notifications (incident_id, lane, id) where status = 'pending';
create index notifications_created_at on notifications (created_at);

-- Where an incident's message stands in a lane, so that it is edited in place.
create table messages (
    incident_id bigint not null references incidents (id),
    lane        text not null,
    channel     text not null,
    message_id  text not null,
    primary key (incident_id, lane)
);
create index messages_by_place on messages (channel, message_id);

-- The pause switch: one row, read under a share lock by everything that starts an action.
create table pause (
    only_row boolean primary key default true check (only_row),
    engaged  boolean not null,
    by       text,
    reason   text,
    at       timestamptz
);
insert into pause (engaged) values (false);

create table holds (
    service text primary key,
    until   timestamptz not null,
    by      text not null,
    reason  text not null
);

-- What starts by the clock: whoever locks a due row starts it and moves the time, so each occurrence runs once.
create table schedules (
    playbook  text not null,
    cron      text not null,
    time_zone text not null,
    next_at   timestamptz not null,
    primary key (playbook, cron, time_zone)
);

-- Dead man's switch: when each source's watchdog alert was last heard.
create table watchdogs (
    source       text primary key,
    last_seen_at timestamptz not null,
    missing      boolean not null default false
);

-- Inbound events already taken (Slack retries, double clicks), so that each acts once.
create table inbound_events (
    key         text primary key,
    received_at timestamptz not null
);
create index inbound_events_received_at on inbound_events (received_at);
