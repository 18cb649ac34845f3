-- Bundles of policy, and which of them is in force since which version of the facts.

-- A bundle as its files, named by their digest, so that a name never means two things. Nobody may change or remove one.
create table policy_bundle (
    digest        text   primary key check (digest = 'sha256:' || encode(sha256(files), 'hex')),
    -- Canonical JSON: an object of path to text.
    files         bytea  not null check (length(files) <= 16777216),
    -- What it comes to when it is read: the digests of the rules (a record's `bundle`) and of the access sheets.
    rulebook      text   not null,
    access        text   not null,
    -- As its bundle.toml says.
    title         text   not null,
    -- What it is for, in the words of who proposed it.
    purpose       text   not null check (purpose <> ''),
    proposed_by   text   not null,
    -- Unix seconds by the clock of who proposed it.
    proposed_at_s bigint not null,
    number        bigint generated always as identity unique
);
alter table policy_bundle alter column files set storage extended;

-- One row for each time that a bundle came into force; the one with the highest version is. None: the bundle is that of the
-- configuration's directory. A row takes its version from fact_head in the transaction that writes it, so a decision that
-- is committed later cannot rest on the bundle of before.
create table policy_enacted (
    version       bigint primary key references registry_version (version),
    bundle        text   not null references policy_bundle,
    how           text   not null check (how in ('activate', 'rollback', 'break_glass', 'fall_back')),
    previous      text   references policy_bundle,
    -- break_glass: the Unix second from which nothing is decided on it, and what comes into force then.
    until_s       bigint,
    falls_back_to text   references policy_bundle,
    reason        text   not null check (reason <> ''),
    -- Signed notes (C2SP) of those who approved it: whoever judges with the bundle checks them again.
    notes         text[] not null,
    enacted_by    text   not null,
    enacted_at_s  bigint not null,
    check ((how = 'break_glass') = (until_s is not null)),
    check ((how = 'break_glass') = (falls_back_to is not null))
);

-- What each replica says of itself, so that whoever activates a bundle knows that all can load it. A process that died is
-- one that is no longer seen. The database's clock alone says when.
create table policy_replica (
    instance uuid   primary key,
    build    text   not null,
    -- What it judges with, and since which version.
    bundle   text,
    since    bigint,
    -- Bundles that it has loaded and tried, and those that it cannot, each with the cause at the same place.
    staged   text[] not null,
    bad      text[] not null,
    why      text[] not null,
    seen_at  timestamptz not null default now()
);

revoke all on policy_bundle, policy_enacted, policy_replica from public;
grant select on policy_bundle, policy_enacted, policy_replica to haetae_gateway, haetae_reader, haetae_registrar;
grant insert on policy_bundle, policy_enacted to haetae_registrar;
grant insert on policy_replica to haetae_gateway;
grant update (bundle, since, staged, bad, why, seen_at) on policy_replica to haetae_gateway;
