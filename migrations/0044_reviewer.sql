-- Reviewers of an authority may use psql, and see what is theirs: decisions that a regime of their authority touches. A member of
-- haetae_reader still reads everything; a scoped reviewer is a member of haetae_reviewer and of no other group of ours.
-- Batches hold the records of many organisations: of them a scoped reviewer gets single leaves, by functions that check.

do $$
begin
    begin
        if not exists (select from pg_roles where rolname = 'haetae_reviewer') then
            create role haetae_reviewer nologin;
        end if;
    exception when duplicate_object or unique_violation then
        null; -- another migration made it just now
    end;
    begin
        revoke create on schema public from public; -- as since PostgreSQL 15
    exception when insufficient_privilege then
        raise notice 'ask an administrator to revoke create on schema public from public';
    end;
end $$;

create table reviewer (
    -- the login itself, whatever role it takes
    role      name not null,
    regime    text not null check (length(regime) between 1 and 64),
    authority text not null check (length(authority) between 1 and 64),
    primary key (role, regime)
);
revoke all on reviewer from public;
grant select on reviewer to haetae_reader;

-- Regimes of whoever is logged in. `session_user`: neither `set role` nor a function of another owner changes it.
create function reviewer_regimes() returns text[]
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(r.regime), '{}') from public.reviewer r where r.role = session_user
$$;

alter table row_decision enable row level security;
alter table row_started  enable row level security;
alter table row_ended    enable row level security;
alter table row_flow     enable row level security;

create policy whole on row_decision to haetae_gateway, haetae_reader, haetae_privacy using (true) with check (true);
create policy whole on row_started  to haetae_gateway, haetae_reader, haetae_privacy using (true) with check (true);
create policy whole on row_ended    to haetae_gateway, haetae_reader, haetae_privacy using (true) with check (true);
create policy whole on row_flow     to haetae_gateway, haetae_reader, haetae_privacy using (true) with check (true);

create policy own on row_flow for select to haetae_reviewer
    using (regime = any ((select reviewer_regimes())::text[]));
-- What these ask of the other tables is asked with the reviewer's own eyes.
create policy own on row_decision for select to haetae_reviewer
    using (exists (select from row_flow f where f.detail = row_decision.detail));
create policy own on row_started for select to haetae_reviewer
    using (exists (select from row_decision d where d.id = row_started.decision));
create policy own on row_ended for select to haetae_reviewer
    using (exists (select from row_decision d where d.id = row_ended.decision));

-- Where a decision stands, if whoever is logged in may see it.
create function reviewer_place(decision uuid) returns table (lane integer, index bigint, facts bytea, detail bytea, bundle bytea)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select d.lane, d.index, d.facts, d.detail, d.bundle from public.row_decision d
    where d.id = $1 and exists (
        select from public.row_flow f
        where f.detail = d.detail and f.regime = any ((select public.reviewer_regimes())::text[]))
$$;

-- The bytes of a decision's record: their hash with 0x00 before them is in the lane's tiles, which everybody may fetch.
create function reviewer_leaf(decision uuid) returns bytea
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    place  record;
    batch  record;
    leaves bytea;
    at     integer := 0;
begin
    select p.lane, p.index into place from public.reviewer_place(decision) p;
    if not found then
        return null;
    end if;
    select b.first_index, b.leaves into batch from public.log_batch b
    where b.lane = place.lane and b.first_index <= place.index order by b.first_index desc limit 1;
    leaves := batch.leaves || ''::bytea; -- unpacked once
    -- C2SP entry bundle: before each leaf its length, two bytes.
    for i in batch.first_index .. place.index - 1 loop
        at := at + 2 + 256 * get_byte(leaves, at) + get_byte(leaves, at + 1);
    end loop;
    return substr(leaves, at + 3, 256 * get_byte(leaves, at) + get_byte(leaves, at + 1));
end $$;

-- The texts that a decision rests on: facts, judgement, rules.
create function reviewer_texts(decision uuid) returns table (kind text, bytes bytea)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select t.kind, t.bytes from public.reviewer_place($1) p
    join public.log_text t on t.digest in (p.facts, p.detail, p.bundle)
$$;

revoke all on function reviewer_regimes(), reviewer_place(uuid), reviewer_leaf(uuid), reviewer_texts(uuid) from public;
grant execute on function reviewer_regimes(), reviewer_place(uuid), reviewer_leaf(uuid), reviewer_texts(uuid)
    to haetae_reviewer;
grant usage on schema public to haetae_reviewer;
grant select on row_decision, row_started, row_ended, row_flow, log_checkpoint to haetae_reviewer;
