-- What a machine found of a provider's log of its own people's access, for one obligation and period. Inserted, never changed: one that
-- found something stays beside the later one that did not.
create table obligation_check (
    n           bigint generated always as identity primary key,
    event       uuid    not null unique,
    org         text    not null,
    service     text    not null,
    site        text    not null,
    code        text    not null,
    period      text    not null,
    -- How many decisions asked for it when it was looked at: a later one is not covered.
    decisions   bigint  not null check (decisions > 0),
    -- SHA-256 of the delivered file, and over those of the guard's journals, where they were given.
    evidence    bytea   not null check (length(evidence) = 32),
    journals    bytea   check (length(journals) = 32),
    entries     bigint  not null check (entries >= 0),
    unexplained bigint  not null check (unexplained between 0 and entries),
    -- Of the journals against the log.
    mismatches  bigint  not null check (mismatches >= 0 and (journals is not null or mismatches = 0)),
    -- Whether the period is over and the file covers all of it since the first decision.
    whole       boolean not null,
    -- The first of the unexplained: line of the file, Unix second, why.
    findings    jsonb   not null,
    at_s        bigint  not null
);
create index obligation_check_of on obligation_check (org, service, site, code, period, n);

revoke all on obligation_check from public;
grant select, insert on obligation_check to haetae_registrar;
grant select on obligation_check to haetae_gateway, haetae_reader;
-- Whoever checks holds the file and the journals against what was allowed at the site.
grant select (id, lane, index, at_ns, org, service, site) on row_decision to haetae_registrar;
grant select (decision, at_ns, how) on row_ended to haetae_registrar;
grant select on projection_cursor to haetae_registrar;
create policy registrar on row_decision for select to haetae_registrar using (true);
create policy registrar on row_ended for select to haetae_registrar using (true);
