-- A new master key is one login's act, and what it writes in place of a wrapped key the database cannot check. So what was there
-- before stays beside it until the person is erased: nobody destroys a key alone by rewrapping it.

create table audit_key_former (
    key     uuid  not null references audit_key on delete cascade,
    subject bytea not null,
    master  text  not null,
    wrapped bytea not null,
    -- who replaced it
    login   name  not null default session_user,
    at      timestamptz not null default clock_timestamp()
);
create index audit_key_former_key on audit_key_former (key);
alter table audit_key_former alter column subject set statistics 0, alter column wrapped set statistics 0;
revoke all on audit_key_former from public;
grant select on audit_key_former to haetae_privacy;

create function audit_key_is_kept() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into public.audit_key_former (key, subject, master, wrapped) values (old.id, old.subject, old.master, old.wrapped);
    return null;
end $$;
create trigger audit_key_is_kept after update on audit_key for each row
    when ((old.master, old.wrapped, old.subject) is distinct from (new.master, new.wrapped, new.subject))
    execute function audit_key_is_kept();
revoke all on function audit_key_is_kept() from public;

-- Against a former master key that leaked, what stays must go: two logins decide, as for a person (migration 0049).
create table former_forgetting (
    id          uuid primary key,
    master      text not null,
    reason      text not null,
    asked_salt  bytea not null check (length(asked_salt) = 16),
    -- SHA-256 of the salt and who asked
    asked       bytea not null check (length(asked) = 32),
    asked_login name not null,
    asked_at    timestamptz not null,
    done_at_s   bigint,
    done_login  name
);
revoke all on former_forgetting from public;

create function former_ask(p_master text, p_reason text, p_person text)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    made uuid  := gen_random_uuid();
    salt bytea := uuid_send(gen_random_uuid());
begin
    insert into public.former_forgetting (id, master, reason, asked_salt, asked, asked_login, asked_at)
    values (made, p_master, p_reason, salt, sha256(salt || convert_to(p_person, 'UTF8')), session_user, clock_timestamp());
    perform public.privacy_tell('key_event', p_person,
        jsonb_build_object('act', 'former_asked', 'forgetting', made, 'master', p_master, 'reason', p_reason));
    return made;
end $$;

-- The second person. That what the keys are now opens is for the command to look at: the database cannot. What was replaced after it
-- was asked for stays: the one who confirms could have put rubbish there.
create function former_forget(p_id uuid, p_master text, p_person text,
    out already_at_s bigint, out forgotten bigint, out kept bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    asked public.former_forgetting;
    now_s bigint := floor(extract(epoch from clock_timestamp()));
begin
    select * into asked from public.former_forgetting f where f.id = p_id for update;
    if not found then
        raise exception 'nobody asked for %', p_id using errcode = 'HE001';
    elsif asked.done_at_s is not null then
        already_at_s := asked.done_at_s;
        return;
    end if;
    perform public.privacy_second(asked.asked_login, asked.asked_salt, asked.asked,
                                  floor(extract(epoch from asked.asked_at))::bigint, p_person);
    if asked.master is distinct from p_master then
        raise exception 'this is not the master key that it was asked for' using errcode = 'HE012';
    end if;
    -- Nobody wraps anew meanwhile.
    lock table public.audit_key in share row exclusive mode;
    if exists (select from public.audit_key k where k.master = p_master) then
        raise exception 'keys are wrapped under % now', p_master using errcode = 'HE013';
    end if;
    delete from public.audit_key_former f where f.master = p_master and f.at < asked.asked_at;
    get diagnostics forgotten = row_count;
    select count(*) into kept from public.audit_key_former f where f.master = p_master;
    update public.former_forgetting f set done_at_s = now_s, done_login = session_user where f.id = p_id;
    perform public.privacy_tell('key_event', p_person, jsonb_build_object(
        'act', 'former_forgotten', 'forgetting', p_id, 'master', p_master, 'keys', forgotten));
end $$;

revoke all on function former_ask(text, text, text), former_forget(uuid, text, text) from public;
grant execute on function former_ask(text, text, text), former_forget(uuid, text, text) to haetae_privacy;
