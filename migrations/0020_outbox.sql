-- What people do to the gate through the database (change its policy, end an order, release a hold) becomes a record: the
-- act inserts its row here in its own transaction, and a lane writes it as a leaf within about a second. The statement
-- that writes the leaf marks the row, so that each act is in the log exactly once, and never without having happened.

create table log_outbox (
    -- order in which acts are taken
    n       bigint generated always as identity unique,
    event   uuid primary key,
    kind    text not null check (kind in (
        'policy_change', 'hold_resolved', 'override', 'order', 'access_change', 'obligation_closed', 'review', 'alarm',
        'rollback', 'key_event')),
    -- Names of those who acted; the leaf has salted digests of them. Emptied when it is written.
    people  text[] not null default '{}' check (cardinality(people) <= 16),
    -- Further keys of the leaf.
    body    jsonb not null default '{}',
    made_at timestamptz not null default clock_timestamp(),
    -- The lane that it was written into.
    lane    int,
    written boolean not null default false,
    check (written = (lane is not null)),
    check (octet_length(body::text) <= 16384)
);
create index log_outbox_waiting on log_outbox (n) where not written;

-- A leaf is flat and canonical: what could not be written is refused here, where somebody is told, and not in the lane.
create function log_outbox_is_leaf(body jsonb) returns boolean language sql immutable as $$
    select jsonb_typeof(body) = 'object' and not exists (
        select 1 from jsonb_each(body) as pair (key, value)
        where key !~ '^[a-z][a-z0-9_]{0,39}$'
           or key in ('v', 'kind', 'id', 'lane', 'index', 'epoch', 'at', 'nonce', 'event', 'people')
           or not case jsonb_typeof(value)
                when 'string' then true
                when 'boolean' then true
                when 'number' then value::text ~ '^[0-9]{1,16}$' and value::text::bigint <= 9007199254740991
                when 'array' then not exists (
                    select 1 from jsonb_array_elements(value) as item where jsonb_typeof(item) <> 'string')
                else false
              end
    )
$$;
alter table log_outbox add constraint log_outbox_body_is_flat check (log_outbox_is_leaf(body));

revoke all on log_outbox from public;
grant select, insert on log_outbox to haetae_gateway;
grant update (people, lane, written) on log_outbox to haetae_gateway;
grant insert on log_outbox to haetae_registrar;
grant select (n, event, kind, body, made_at, lane, written) on log_outbox to haetae_registrar, haetae_reader;
