-- An erasure takes two logins, by the database's own word: what is kept of people is destroyed and changed by these functions alone.
-- They run as the tables' owner, stamp the login (`session_user`: neither `set role` nor a function changes it), and tell what was
-- done in the same transaction. Refusals have codes of the class HE.

-- Nobody confirms what was asked for without a login: it is asked for again.
delete from erasure where done_at_s is null;
alter table erasure
    add column asked_login name,
    add column done_login  name,
    -- By what the person's keys are found (audit_key.subject): nothing else can be destroyed by this erasure; and under which
    -- master keys.
    add column subjects    bytea[],
    add column masters     text[],
    -- SHA-256 of asked_salt, `subject `, and the person's name. Both are emptied when it is done.
    add column named       bytea check (length(named) = 32),
    add constraint erasure_open_or_done check (
        (done_at_s is null) = (named is not null) and (done_at_s is null) = (subjects is not null));
alter table erasure alter column subjects set statistics 0, alter column named set statistics 0;

revoke delete on audit_private, audit_key from haetae_privacy;
revoke insert on audit_key from haetae_privacy;
revoke update (org, subject, master, wrapped) on audit_key from haetae_privacy;
revoke update (salt, value, lane, index, key, sealed) on audit_private from haetae_privacy;
revoke update (erasures) on fact_head from haetae_privacy;
revoke insert, update (subject, done_at_s) on erasure from haetae_privacy;
revoke update (asked) on hold from haetae_privacy;
revoke update (person) on hold_vote from haetae_privacy;

-- Whoever may insert acts could stop all of them with a name that is none.
alter table log_outbox add constraint log_outbox_people_are_named check (array_position(people, null) is null);

-- An act of the functions below, with who did it: the name as it was given, and the login.
create function privacy_tell(p_kind text, p_person text, p_body jsonb) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into public.log_outbox (event, kind, people, body)
    values (gen_random_uuid(), p_kind, array[p_person, session_user::text], jsonb_strip_nulls(p_body))
$$;

-- Nobody else can tell such an act, who may insert others.
create function log_outbox_of_privacy() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if not pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'member') then
        raise exception 'this act is told by what does it' using errcode = 'insufficient_privilege';
    end if;
    return new;
end $$;
create trigger log_outbox_of_privacy before insert on log_outbox for each row
    when (new.kind = 'erase' or new.kind = 'key_event'
          and new.body ->> 'act' in ('rewrapped', 'former_asked', 'former_forgotten'))
    execute function log_outbox_of_privacy();

-- The first person: whose keys (`p_subjects`), and a name that the second one must give again.
create function erasure_ask(p_org text, p_name text, p_subject bytea, p_subjects bytea[], p_masters text[], p_reason text,
                            p_person text)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    made  uuid   := gen_random_uuid();
    salt  bytea  := uuid_send(gen_random_uuid());
    now_s bigint := floor(extract(epoch from clock_timestamp()));
begin
    -- What nobody confirmed in time names the person for nothing.
    delete from public.erasure e where e.done_at_s is null and e.asked_at_s < now_s - 604800;
    insert into public.erasure
        (id, org, subject, subjects, masters, named, master, reason, asked_salt, asked, asked_login, asked_at_s)
    values (made, p_org, p_subject, p_subjects, p_masters, sha256(salt || convert_to('subject ' || p_name, 'UTF8')),
            p_masters[1], p_reason, salt, sha256(salt || convert_to(p_person, 'UTF8')), session_user, now_s);
    perform public.privacy_tell('erase', p_person,
        jsonb_build_object('act', 'asked', 'erasure', made, 'org', p_org, 'reason', p_reason));
    return made;
end $$;

-- Whether this is a second person, within a week of the first: another login and another name.
create function privacy_second(p_login name, p_salt bytea, p_asked bytea, p_asked_at_s bigint, p_person text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if p_login is not distinct from session_user then
        raise exception 'it was asked for with the login %: another login must confirm it', session_user using errcode = 'HE002';
    elsif p_person is null or p_asked is not distinct from sha256(p_salt || convert_to(p_person, 'UTF8')) then
        raise exception 'who asked for it cannot confirm it' using errcode = 'HE003';
    elsif extract(epoch from clock_timestamp()) - p_asked_at_s > 604800 then
        raise exception 'it was asked for more than a week ago' using errcode = 'HE004';
    end if;
end $$;

-- The second person, who says for whom it is as well: both name the same keys, or nothing is destroyed. `p_orgs`: for which
-- organisations the keys were looked for; `p_masters`: master keys that they were looked for under.
create function erasure_confirm(p_id uuid, p_org text, p_name text, p_orgs text[], p_subjects bytea[], p_masters text[],
                                p_person text,
    out already_at_s bigint, out keys bigint, out vals bigint, out holds bigint, out holds_left bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    asked   public.erasure;
    clear   bigint;
    master  text;
    chance  bytea  := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
    now_s   bigint := floor(extract(epoch from clock_timestamp()));
begin
    select * into asked from public.erasure e where e.id = p_id for update;
    if not found then
        raise exception 'nobody asked for the erasure %', p_id using errcode = 'HE001';
    elsif asked.done_at_s is not null then
        already_at_s := asked.done_at_s;
        return;
    end if;
    perform public.privacy_second(asked.asked_login, asked.asked_salt, asked.asked, asked.asked_at_s, p_person);
    if asked.org is distinct from p_org
        or asked.named is distinct from sha256(asked.asked_salt || convert_to('subject ' || p_name, 'UTF8')) then
        raise exception 'this is not whom it was asked for' using errcode = 'HE005';
    elsif p_subjects is null or p_masters is null or p_orgs is null
        -- A null among them would make `<> all` below true of nothing.
        or array_position(p_subjects, null) is not null or array_position(p_masters, null) is not null
        or array_position(p_orgs, null) is not null then
        raise exception 'what is looked for, and where, is not said' using errcode = 'null_value_not_allowed';
    end if;

    -- From here on no commit is under way, and those that wait see this one.
    update public.fact_head set erasures = erasures + 1 where id = 1;
    if exists (select from public.log_outbox o where not o.written and p_name = any (o.people)) then
        raise exception 'acts of this person wait to be recorded' using errcode = 'HE006';
    end if;

    -- Whoever wraps keys anew says whose they are, and nobody can check it: one who made a key another person's shows beside what the
    -- key was before (migration 0051), by the word of both persons: one of them may be who did it.
    if exists (select from public.audit_key k join public.audit_key_former f on f.key = k.id
               where f.master = any (p_masters || asked.masters)
                 and (f.subject = any (p_subjects || asked.subjects)) <> (k.subject = any (p_subjects || asked.subjects))) then
        raise exception 'a key of this person, or of another, was wrapped anew as somebody else''s: see audit_key_former'
            using errcode = 'HE010';
    end if;

    with gone as (
        delete from public.audit_key k where k.subject = any (asked.subjects) and k.subject = any (p_subjects) returning k.id
    ), sealed as (
        delete from public.audit_private p where p.key in (select g.id from gone g) returning 1
    )
    select (select count(*) from gone), (select count(*) from sealed) into keys, vals;
    delete from public.audit_private p where p.value = p_name and (p_org is null or p.org = p_org);
    get diagnostics clear = row_count;
    vals := vals + clear;

    -- A hold is over when it was refused, or its release can no longer be used: the digests beside it become nobody's.
    with own as (
        select h.id, h.asked_salt, sha256(h.asked_salt || convert_to(p_name, 'UTF8')) as person,
               exists (select from public.hold_resolution r
                       where r.hold = h.id and (r.result = 'refused' or r.until_s <= now_s)) as is_over
        from public.hold h where p_org is null or h.org = p_org
    ), asker as (
        update public.hold h set asked = sha256(chance || convert_to(h.id::text || 'asked', 'UTF8'))
        from own where own.id = h.id and own.is_over and h.asked = own.person returning 1
    ), voted as (
        update public.hold_vote v set person = sha256(chance || convert_to(v.hold::text || v.n, 'UTF8'))
        from own where own.id = v.hold and own.is_over and v.person = own.person returning 1
    )
    select (select count(*) from asker) + (select count(*) from voted),
           (select count(*) from public.hold h join own using (id) where not own.is_over and h.asked = own.person)
           + (select count(*) from public.hold_vote v join own on own.id = v.hold where not own.is_over and v.person = own.person)
    into holds, holds_left;

    -- Asked last: a key that was wrapped anew meanwhile was not found by its former index.
    select k.master into master from public.audit_key k where k.master <> all (p_masters) limit 1;
    if found then
        raise exception 'some keys are wrapped under the master key %', master using errcode = 'HE007', detail = master;
    end if;
    if exists (select from public.audit_key k where k.subject = any (p_subjects)) then
        raise exception 'keys of this person were made under another name or master key since it was asked for'
            using errcode = 'HE008';
    end if;
    -- Who confirms less than was asked for would close the request with keys left over.
    if exists (select from public.audit_key k where k.subject = any (asked.subjects)) then
        raise exception 'it was asked for with keys that are not named for this person now' using errcode = 'HE011';
    end if;
    if p_org is null and exists (select from public.audit_key k where k.org <> all (p_orgs)) then
        raise exception 'an organisation came meanwhile: confirm again' using errcode = 'HE009';
    end if;

    update public.erasure e
    set subject = null, subjects = null, masters = null, named = null, done_at_s = now_s, done_login = session_user
    where e.id = p_id;
    -- Other requests for the same person name her for nothing now.
    delete from public.erasure e
    where e.done_at_s is null and (p_org is null or e.org = p_org)
      and e.named = sha256(e.asked_salt || convert_to('subject ' || p_name, 'UTF8'));
    perform public.privacy_tell('erase', p_person,
        jsonb_build_object('act', 'done', 'erasure', p_id, 'org', p_org, 'keys', keys, 'values', vals));
end $$;

-- Keys under another master key. What is under this one already stays as it is.
create function privacy_rewrap(p_master text, p_ids uuid[], p_subjects bytea[], p_wrapped bytea[], p_person text)
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    done bigint;
begin
    update public.audit_key k set subject = n.subject, master = p_master, wrapped = n.wrapped
    from unnest(p_ids, p_subjects, p_wrapped) as n (id, subject, wrapped)
    where k.id = n.id and k.master <> p_master;
    get diagnostics done = row_count;
    if done > 0 then
        perform public.privacy_tell('key_event', p_person,
            jsonb_build_object('act', 'rewrapped', 'master', p_master, 'keys', done));
    end if;
    return done;
end $$;

-- Values that an earlier version kept in clear, sealed under a new key each.
create function privacy_seal(p_master text, p_digests bytea[], p_ids uuid[], p_orgs text[], p_subjects bytea[], p_wrapped bytea[],
                             p_sealed bytea[], p_person text)
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    done bigint;
begin
    with new as (
        select * from unnest(p_digests, p_ids, p_orgs, p_subjects, p_wrapped, p_sealed)
            as n (digest, id, org, subject, wrapped, sealed)
    ), sealed as (
        update public.audit_private p
        set salt = null, value = null, lane = 0, index = 0, key = n.id, sealed = n.sealed
        from new n where p.digest = n.digest and p.value is not null returning n.id
    )
    insert into public.audit_key (id, org, subject, master, wrapped)
    select n.id, n.org, n.subject, p_master, n.wrapped from new n join sealed using (id);
    get diagnostics done = row_count;
    if done > 0 then
        perform public.privacy_tell('key_event', p_person,
            jsonb_build_object('act', 'rewrapped', 'master', p_master, 'sealed', done));
    end if;
    return done;
end $$;

revoke all on function privacy_tell(text, text, jsonb), log_outbox_of_privacy(),
    privacy_second(name, bytea, bytea, bigint, text),
    erasure_ask(text, text, bytea, bytea[], text[], text, text),
    erasure_confirm(uuid, text, text, text[], bytea[], text[], text),
    privacy_rewrap(text, uuid[], bytea[], bytea[], text),
    privacy_seal(text, bytea[], uuid[], text[], bytea[], bytea[], bytea[], text) from public;
grant execute on function erasure_ask(text, text, bytea, bytea[], text[], text, text),
    erasure_confirm(uuid, text, text, text[], bytea[], text[], text),
    privacy_rewrap(text, uuid[], bytea[], bytea[], text),
    privacy_seal(text, bytea[], uuid[], text[], bytea[], bytea[], bytea[], text) to haetae_privacy;
