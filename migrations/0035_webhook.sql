-- Notices to organisations: where each wants them, and each notice on its way. A delivery's row is made once for each
-- (webhook, key) and keeps its id through all attempts; nothing is deleted.

create table webhook (
    id           uuid primary key default gen_random_uuid(),
    org          text not null,
    url          text not null check (octet_length(url) <= 512),
    made_by      text not null,
    made_at      timestamptz not null default clock_timestamp(),
    removed_at   timestamptz,
    -- One delivery is in flight at a time: whoever holds the lease, until its end by this database's clock.
    lease        uuid,
    leased_until timestamptz
);
create unique index webhook_present on webhook (org, url) where removed_at is null;

-- Several are valid while one takes the place of another. Who makes them cannot read them.
create table webhook_secret (
    webhook     uuid not null references webhook,
    made_at     timestamptz not null default clock_timestamp(),
    valid_until timestamptz,
    secret      bytea not null check (octet_length(secret) between 24 and 64),
    primary key (webhook, made_at)
);

create table webhook_delivery (
    -- `webhook-id`: the same at every attempt, so that a receiver can tell a notice that it has
    id       uuid primary key default gen_random_uuid(),
    webhook  uuid not null references webhook,
    -- what it is about, so that each notice is made once
    key      text not null check (octet_length(key) <= 512),
    -- the very bytes that are signed and sent
    body     text not null check (octet_length(body) <= 16384),
    made_at  timestamptz not null default clock_timestamp(),
    attempts int  not null default 0,
    next_at  timestamptz not null default clock_timestamp(),
    state    text not null default 'waiting' check (state in ('waiting', 'delivered', 'dead')),
    -- of the last attempt: HTTP status, or why there was none
    status   int,
    why      text,
    unique (webhook, key)
);
create index webhook_delivery_due on webhook_delivery (webhook, next_at) where state = 'waiting';

revoke all on webhook, webhook_secret, webhook_delivery from public;
grant select on webhook, webhook_secret, webhook_delivery to haetae_gateway;
grant update (lease, leased_until) on webhook to haetae_gateway;
grant insert (webhook, key, body) on webhook_delivery to haetae_gateway;
grant update (attempts, next_at, state, status, why) on webhook_delivery to haetae_gateway;
grant select on webhook, webhook_delivery to haetae_registrar;
grant insert (org, url, made_by), update (removed_at) on webhook to haetae_registrar;
grant select (webhook, valid_until), insert (webhook, secret), update (valid_until) on webhook_secret to haetae_registrar;
grant insert (webhook, key, body), update (next_at, state) on webhook_delivery to haetae_registrar;
grant select on webhook, webhook_delivery to haetae_reader;
