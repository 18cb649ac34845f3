-- An act whose row `log_outbox` did not keep (a trigger that drops it, a rule) is not done: what inserts there looks. The functions of
-- 0025 and 0049 are as they were but for that.

create function log_outbox_kept(told bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if told is distinct from 1 then
        raise exception '`log_outbox` did not keep the row of this act: without its record it is not done';
    end if;
end $$;
revoke all on function log_outbox_kept from public;

create or replace function policy_fall_back(box bigint, now_s bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    last policy_enacted;
    raised bigint;
    told bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('haetae_registry', 0));
    select * into last from policy_enacted order by version desc limit 1;
    if last.version is distinct from box or last.until_s is null or last.until_s > now_s then
        return null;
    end if;
    update fact_head set version = version + 1 where id = 1 returning version into raised;
    insert into registry_version (version, applied_by, how, digest)
        select raised, 'haetae', 'fall_back', digest from registry_version order by version desc limit 1;
    insert into policy_enacted (version, bundle, how, previous, reason, notes, enacted_by, enacted_at_s)
        values (raised, last.falls_back_to, 'fall_back', last.bundle, 'the break-glass of version ' || box || ' is over', '{}',
                'haetae', now_s);
    insert into log_outbox (event, kind, body)
        select gen_random_uuid(), 'policy_change', jsonb_build_object(
            'act', 'fall_back', 'bundle', encode(decode(substr(b.rulebook, 8), 'hex'), 'base64'), 'files', b.digest,
            'access', b.access, 'replaces', last.bundle, 'version', raised, 'reason', 'the break-glass is over')
        from policy_bundle b where b.digest = last.falls_back_to;
    get diagnostics told = row_count;
    perform log_outbox_kept(told);
    perform pg_notify('haetae_facts', raised::text);
    return raised;
end $$;

create or replace function privacy_tell(p_kind text, p_person text, p_body jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    told bigint;
begin
    insert into public.log_outbox (event, kind, people, body)
    values (gen_random_uuid(), p_kind, array[p_person, session_user::text], jsonb_strip_nulls(p_body));
    get diagnostics told = row_count;
    perform public.log_outbox_kept(told);
end $$;
