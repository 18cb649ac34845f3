-- Who may approve a bundle of policy, and what was approved.

-- A random name of this deployment: a signature for another is none here.
create table policy_deployment (
    id   integer primary key check (id = 1),
    name uuid    not null default gen_random_uuid()
);
insert into policy_deployment (id) values (1);

-- Only the schema's owner registers and removes approvers: whoever activates bundles (haetae_registrar) is not whoever
-- says whose signature counts. A key is never changed; a removed one stays, for what it signed before.
create table policy_approver (
    -- The person: also the name of the key.
    name       text   primary key,
    -- Public key (C2SP vkey).
    vkey       text   not null unique,
    role       text   not null check (role in ('platform_administrator', 'data_protection', 'legal', 'security', 'organisation')),
    -- Versions of fact_head: what comes into force after `added_in` and not after `removed_in` may bear its signature.
    added_in   bigint not null,
    removed_in bigint check (removed_in >= added_in),
    added_by   text   not null,
    added_at_s bigint not null
);

-- Signatures that wait for the others. One is for a bundle in place of what is in force since a version.
create table policy_approval (
    bundle   text   not null references policy_bundle,
    -- The version that put in force what it replaces; 0: the directory of the configuration.
    since    bigint not null,
    approver text   not null references policy_approver,
    note     text   not null,
    at_s     bigint not null,
    primary key (bundle, since, approver)
);

-- The end of a break-glass, by whoever sees it first: the gateway may do this and nothing else of the kind. It says what
-- time it is, so that one clock decides; what comes into force is what the break-glass itself says.
create function policy_fall_back(box bigint, now_s bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    last policy_enacted;
    raised bigint;
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
    perform pg_notify('haetae_facts', raised::text);
    return raised;
end $$;

revoke all on policy_deployment, policy_approver, policy_approval from public;
revoke all on function policy_fall_back from public;
grant select on policy_deployment, policy_approver, policy_approval to haetae_gateway, haetae_reader, haetae_registrar;
grant insert on policy_approval to haetae_registrar;
grant execute on function policy_fall_back to haetae_gateway, haetae_registrar;
