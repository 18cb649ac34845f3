-- A proposed bundle judged beside the one in force, on live traffic: when, by whose wish, and what it would decide otherwise.

create table policy_shadow (
    id           uuid   primary key default gen_random_uuid(),
    bundle       text   not null references policy_bundle,
    reason       text   not null check (reason <> ''),
    started_by   text   not null,
    -- Unix seconds by the clock of who started it. It ends by itself at `until_s`.
    started_at_s bigint not null,
    until_s      bigint not null check (until_s > started_at_s),
    stopped_by   text,
    stopped_at_s bigint,
    check ((stopped_by is null) = (stopped_at_s is null))
);
-- One at a time: its budget is for one.
create unique index policy_shadow_running on policy_shadow ((true)) where stopped_at_s is null;

-- Decisions that would have been otherwise in one way. Of each way a count and the first few record ids are kept, nothing else
-- of the request; where they agree nothing is kept but a count.
create table policy_shadow_difference (
    shadow       uuid   not null references policy_shadow,
    -- SHA-256 over the columns up to `would_rule`, so that every replica adds to the same row.
    key          bytea  not null check (length(key) = 32),
    -- Digest of the rules in force (a record's `bundle`).
    in_force     text   not null,
    -- `outcome`; `site`: allowed as before but not where it was sent; `obligations`: allowed on other obligations
    what         text   not null check (what in ('outcome', 'site', 'obligations')),
    -- The cell that decides the stricter of the two; `-` where no cell does.
    regime       text   not null,
    flow         text   not null,
    place        text   not null,
    was          text   not null,
    was_reason   text   not null,
    was_rule     text   not null,
    would        text   not null,
    would_reason text   not null,
    would_rule   text   not null,
    count        bigint not null check (count > 0),
    examples     uuid[] not null,
    first_at_s   bigint not null,
    last_at_s    bigint not null,
    primary key (shadow, key)
);

-- What each replica did for it: how much was compared, and how much was not, and why.
create table policy_shadow_count (
    shadow    uuid   not null references policy_shadow,
    instance  uuid   not null,
    same      bigint not null,
    differing bigint not null,
    dropped   bigint not null,
    moved     bigint not null,
    uncounted bigint not null,
    crowded   bigint not null,
    seen_at   timestamptz not null default now(),
    primary key (shadow, instance)
);

revoke all on policy_shadow, policy_shadow_difference, policy_shadow_count from public;
grant select on policy_shadow, policy_shadow_difference, policy_shadow_count to haetae_gateway, haetae_reader, haetae_registrar;
grant insert on policy_shadow to haetae_registrar;
grant update (stopped_by, stopped_at_s) on policy_shadow to haetae_registrar;
grant insert on policy_shadow_difference, policy_shadow_count to haetae_gateway;
grant update (count, examples, first_at_s, last_at_s) on policy_shadow_difference to haetae_gateway;
grant update (same, differing, dropped, moved, uncounted, crowded, seen_at) on policy_shadow_count to haetae_gateway;
