-- What two persons decide is about what was there when it was asked for, and about nothing that somebody has changed and not committed;
-- and no condition of a reviewer's is looked at before it is known that the row is one of theirs.

-- In the order in which rows are written, and without making those who write wait behind a long query of somebody who reads: for half
-- a minute it is tried again, then this fails and nothing is changed.
do $$ declare tries integer := 0; begin
    loop
        begin
            set local lock_timeout = '500ms';
            lock table row_decision, row_started, row_ended, row_flow in access exclusive mode;
            set local lock_timeout to default;
            return;
        exception when lock_not_available then
            tries := tries + 1;
            if tries >= 30 then raise; end if;
            perform pg_sleep(0.5);
        end;
    end loop;
end $$;

-- Row by row, no longer by the clock: a key that was wrapped anew, with rubbish, in a transaction that was still open when it was
-- asked for has a time of before in `audit_key_former`, and nobody could look at what it is now.
alter table audit_key_former add column n bigint generated always as identity;
alter table former_forgetting add column forgets int8multirange;
-- It was asked for by the clock, and without looking: it is asked for again.
delete from former_forgetting where done_at_s is null;

create or replace function former_ask(p_master text, p_reason text, p_person text)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    made uuid  := gen_random_uuid();
    salt bytea := uuid_send(gen_random_uuid());
begin
    insert into public.former_forgetting (id, master, reason, asked_salt, asked, asked_login, asked_at, forgets)
    values (made, p_master, p_reason, salt, sha256(salt || convert_to(p_person, 'UTF8')), session_user, clock_timestamp(),
            (select range_agg(int8range(f.n, f.n, '[]')) from public.audit_key_former f where f.master = p_master));
    perform public.privacy_tell('key_event', p_person,
        jsonb_build_object('act', 'former_asked', 'forgetting', made, 'master', p_master, 'reason', p_reason));
    return made;
end $$;

create or replace function former_forget(p_id uuid, p_master text, p_person text,
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
    delete from public.audit_key_former f where f.master = p_master and f.n <@ asked.forgets;
    get diagnostics forgotten = row_count;
    select count(*) into kept from public.audit_key_former f where f.master = p_master;
    update public.former_forgetting f set done_at_s = now_s, done_login = session_user, forgets = null where f.id = p_id;
    perform public.privacy_tell('key_event', p_person, jsonb_build_object(
        'act', 'former_forgotten', 'forgetting', p_id, 'master', p_master, 'keys', forgotten));
end $$;

-- A key that somebody makes another person's while an erasure waits for it is passed over by that erasure, which has held keys against
-- what they were before it waited. So it is looked at once more when it is done.
create function erasure_is_whole() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from public.audit_key k join public.audit_key_former f on f.key = k.id
               where f.master = any (old.masters)
                 and (f.subject = any (old.subjects)) <> (k.subject = any (old.subjects))) then
        raise exception 'a key of this person, or of another, was wrapped anew as somebody else''s: see audit_key_former'
            using errcode = 'HE010';
    end if;
    return new;
end $$;
create trigger erasure_is_whole before update of done_at_s on erasure for each row
    when (old.done_at_s is null and new.done_at_s is not null) execute function erasure_is_whole();
revoke all on function erasure_is_whole() from public;

-- Postgres looks at a cheap condition of who asks before it looks whether he may see the row, where its operator tells nobody what it
-- compares (`leakproof`); and `explain (analyze)` tells whether the policy was asked. So `service < 'm'` of a record by its id was
-- answered for any record, and by halves each column could be read. What costs next to nothing is asked first. Before that come still
-- what an index has (place, id, organisation, time) and what costs nothing at all (`is null`).
create function reviewer_sees_regime(regime text) returns boolean
language plpgsql stable parallel safe security definer cost 0.000001 set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from public.reviewer r where r.role = session_user and r.regime = $1);
end $$;
create function reviewer_sees_detail(detail bytea) returns boolean
language plpgsql stable parallel safe security definer cost 0.000001 set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from public.row_flow f join public.reviewer r on r.regime = f.regime
                   where f.detail = $1 and r.role = session_user);
end $$;
create function reviewer_sees_decision(decision uuid) returns boolean
language plpgsql stable parallel safe security definer cost 0.000001 set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from public.row_decision d where d.id = $1 and public.reviewer_sees_detail(d.detail));
end $$;
revoke all on function reviewer_sees_regime(text), reviewer_sees_detail(bytea), reviewer_sees_decision(uuid) from public;
grant execute on function reviewer_sees_regime(text), reviewer_sees_detail(bytea), reviewer_sees_decision(uuid)
    to haetae_reviewer;
alter policy own on row_flow using (reviewer_sees_regime(regime));
alter policy own on row_decision using (reviewer_sees_detail(detail));
alter policy own on row_started using (reviewer_sees_decision(decision));
alter policy own on row_ended using (reviewer_sees_decision(decision));
