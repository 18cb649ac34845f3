-- What recorded decisions ask for after they allowed, and what people say that they did about it.

-- One row for each (organisation, service, site, code, month of UTC): however many decisions ask for it. Derived from the rows of
-- decisions, each once: row and cursor move in one transaction.
create table obligation (
    org       text   not null,
    service   text   not null,
    site      text   not null,
    code      text   not null,
    month     text   not null check (month ~ '^[0-9]{4}-[0-9]{2}$'),
    -- Unix seconds of the first and the last decision of the month that asks for it, and how many do.
    first_s   bigint not null,
    last_s    bigint not null,
    decisions bigint not null check (decisions > 0),
    -- Details (`type/detail`) that the grounds which carried them had on file, in every one of these decisions.
    on_file   text[] not null,
    -- Of the last: the bundle text that says what the code means.
    bundle    bytea  not null,
    primary key (org, service, site, code, month)
);

create table obligation_cursor (
    lane       integer primary key,
    next_index bigint  not null
);

-- Inserted, never changed: an obligation is closed for its period (`once`, a year, a month) or it is not.
create table obligation_closing (
    event    uuid   primary key,
    org      text   not null,
    service  text   not null,
    site     text   not null,
    code     text   not null,
    period   text   not null,
    -- Who closed it, the record `obligation_closed` of this event says, as a salted digest; the name is not kept here.
    reason   text   not null check (length(reason) between 1 and 2000),
    -- SHA-256 of what shows that it was done.
    evidence bytea  not null check (length(evidence) = 32),
    -- Unix seconds by the clock of who closed it.
    at_s     bigint not null,
    unique (org, service, site, code, period)
);

revoke all on obligation, obligation_cursor, obligation_closing from public;
grant select, insert on obligation, obligation_cursor to haetae_gateway;
grant update (first_s, last_s, decisions, on_file, bundle) on obligation to haetae_gateway;
grant update (next_index) on obligation_cursor to haetae_gateway;
grant select, insert on obligation_closing to haetae_gateway, haetae_registrar;
grant select on obligation, obligation_cursor to haetae_registrar, haetae_reader;
grant select (event, org, service, site, code, period, evidence, at_s) on obligation_closing to haetae_reader;
-- Who closes obligations reads what their codes mean, and whether the log has its records from the first one on.
grant select on log_text, log_batch, log_head to haetae_registrar;
