-- Lets a test keep chosen changes of the records from being committed: the change waits for a lock that the test holds.
create schema commit_holds;
create table commit_holds.held (id integer primary key, service text not null, change text not null);

create function commit_holds.wait(of_service text, of_change text) returns void language plpgsql as $$
declare
    found integer;
begin
    for found in select id from commit_holds.held where service = of_service and change = of_change loop
        perform pg_advisory_xact_lock(4711, found);
    end loop;
end
$$;

create function commit_holds.service_of(incident bigint) returns text stable language sql as $$
    select service from public.incidents where id = incident
$$;

create function commit_holds.on_incident() returns trigger language plpgsql as $$
begin
    perform commit_holds.wait(new.service, 'incident:opened');
    return new;
end
$$;
create trigger hold before insert on public.incidents for each row execute function commit_holds.on_incident();

create function commit_holds.on_run() returns trigger language plpgsql as $$
declare
    service text := commit_holds.service_of(new.incident_id);
begin
    if tg_op = 'INSERT' then
        perform commit_holds.wait(service, 'run:planned');
    elsif new.status <> old.status then
        perform commit_holds.wait(service, 'run:' || new.status);
    elsif new.status = 'verifying' and new.next_check_at is distinct from old.next_check_at then
        perform commit_holds.wait(service, 'run:looked');
    end if;
    return new;
end
$$;
create trigger hold before insert or update on public.runs for each row execute function commit_holds.on_run();

create function commit_holds.on_step() returns trigger language plpgsql as $$
declare
    service text := commit_holds.service_of((select incident_id from public.runs where id = new.run_id));
begin
    if new.undone is distinct from old.undone then
        perform commit_holds.wait(service, new.step_id || ':undone');
    elsif new.status <> old.status then
        perform commit_holds.wait(service, new.step_id || ':' || new.status);
    elsif new.state is distinct from old.state then
        perform commit_holds.wait(service, new.step_id || ':captured');
    end if;
    return new;
end
$$;
create trigger hold before update on public.steps for each row execute function commit_holds.on_step();

create function commit_holds.on_notification() returns trigger language plpgsql as $$
begin
    if new.status = 'sent' and old.status <> 'sent' then
        perform commit_holds.wait(commit_holds.service_of(new.incident_id), 'notification:sent');
    end if;
    return new;
end
$$;
create trigger hold before update on public.notifications for each row execute function commit_holds.on_notification();
