-- Questions that a rule held for review. A hold is opened by the statement that writes its decision, so there is one for
-- each recorded HOLD and none without a record.

create table hold (
    -- the decision's id
    id         uuid     primary key,
    org        text     not null,
    service    text     not null,
    operation  text     not null,
    -- Unix seconds: the instant for which it was judged
    at_s       bigint   not null,
    -- Who asked, as SHA-256 of salt and name: enough to tell that who releases it is somebody else.
    asked_salt bytea    not null check (length(asked_salt) = 16),
    asked      bytea    not null check (length(asked) = 32),
    -- What makes another request the same one, as a digest.
    request    bytea    not null check (length(request) = 32),
    rules      text[]   not null check (cardinality(rules) > 0),
    -- How many different persons must agree to release it.
    persons    smallint not null check (persons > 0),
    -- The facts at the site that would be allowed, and the rules: a release is for these and no others.
    facts      text     not null,
    bundle     text     not null,
    -- The judgement's text in log_text.
    detail     bytea    not null check (length(detail) = 32),
    made_at    timestamptz not null default now()
);
create index hold_request on hold (org, request);
create index hold_newest on hold (made_at, id);

revoke all on hold from public;
grant select, insert on hold to haetae_gateway;
grant select on hold to haetae_registrar;
grant select (id, org, service, operation, at_s, rules, persons, facts, bundle, detail, made_at) on hold to haetae_reader;
