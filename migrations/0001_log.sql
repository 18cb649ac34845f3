-- The log. Heads are updated, everything else is only ever inserted. docs/record.md says what the bytes mean.

-- One version for all facts (registry, grounds, orders, bundle). Whoever changes a fact raises it in the same transaction;
-- whoever commits a record holds a share lock on it, so a change waits for commits under way and later commits see it.
create table fact_head (
    id       integer primary key check (id = 1),
    version  bigint  not null check (version >= 0),
    -- FOR SHARE asks for the right to update some column: the gateway has it for this one, which means nothing.
    lockable boolean not null default false
);
insert into fact_head (id, version) values (1, 0);

-- One row for each lane: the tree's right edge and the fence (epoch).
create table log_head (
    lane     integer primary key check (lane between 0 and 15),
    origin   text    not null unique,
    epoch    bigint  not null default 0,
    size     bigint  not null default 0,
    frontier bytea   not null,
    root     bytea   not null check (length(root) = 32),
    last_ns  bigint  not null default 0
) with (fillfactor = 50); -- heads are updated at every commit: room for HOT updates

-- Who claimed which epoch. An epoch is settled when every ALLOW in it has its end.
create table log_epoch (
    lane        integer not null references log_head,
    epoch       bigint  not null,
    first_index bigint  not null,
    instance    integer not null,
    settled     boolean not null default false,
    at          timestamptz not null default now(),
    primary key (lane, epoch)
);
create index log_epoch_open on log_epoch (lane) where not settled;

create table log_batch (
    lane        integer not null,
    first_index bigint  not null check (first_index >= 0),
    count       integer not null check (count > 0),
    epoch       bigint  not null,
    -- C2SP entry bundle: for each leaf a big-endian u16 length and the bytes.
    leaves      bytea   not null,
    -- The first 8 bytes of each leaf hash: names the leaf that somebody changed.
    marks       bytea   not null check (length(marks) = 8 * count),
    at          timestamptz not null default now(),
    primary key (lane, first_index)
);
alter table log_batch alter column leaves set storage extended;

-- Full tiles (256 hashes), C2SP tlog-tiles.
create table log_tile (
    lane   integer  not null,
    level  smallint not null,
    n      bigint   not null,
    hashes bytea    not null check (length(hashes) = 8192),
    primary key (lane, level, n)
);

-- Content-addressed texts: facts, detail, bundle.
create table log_text (
    digest bytea primary key check (length(digest) = 32),
    kind   text  not null,
    bytes  bytea not null,
    at     timestamptz not null default now()
);
alter table log_text alter column bytes set storage extended;

do $$ begin
    alter table log_batch alter column leaves set compression lz4;
    alter table log_text  alter column bytes  set compression lz4;
exception when feature_not_supported then
    raise notice 'this PostgreSQL has no lz4: batches are compressed with pglz';
end $$;

-- Signed checkpoints as they were published (about one a second for each lane that grew).
create table log_checkpoint (
    lane integer not null,
    size bigint  not null,
    note text    not null,
    vkey text    not null,
    at   timestamptz not null default now(),
    primary key (lane, size)
);

-- Values behind salted digests. Erasing a row leaves every proof as it was.
create table audit_private (
    digest bytea primary key check (length(digest) = 32),
    kind   text  not null,
    org    text  not null,
    salt   bytea not null check (length(salt) = 16),
    value  text  not null,
    at     timestamptz not null default now()
);

-- Projections: derived from the batches, in order, and compared with them by `haetae log verify`.
-- Times are nanoseconds since 1970 (`to_timestamp(at_ns / 1e9)` for people).
create table row_decision (
    lane      integer not null,
    index     bigint  not null,
    id        uuid    not null,
    at_ns     bigint  not null,
    org       text    not null,
    actor     bytea   not null,
    outcome   text    not null,
    reason    text    not null,
    rule      text,
    site      text,
    service   text    not null,
    operation text    not null,
    issuer    text,
    facts     bytea   not null,
    detail    bytea   not null,
    bundle    bytea   not null,
    primary key (lane, index)
);
create index row_decision_id on row_decision (id);
create index row_decision_org on row_decision (org, at_ns);
create index row_decision_at on row_decision using brin (at_ns);

create table row_started (
    lane     integer not null,
    index    bigint  not null,
    id       uuid    not null,
    at_ns    bigint  not null,
    decision uuid    not null,
    identity text    not null,
    primary key (lane, index)
);
create index row_started_decision on row_started (decision);

create table row_ended (
    lane        integer not null,
    index       bigint  not null,
    id          uuid    not null,
    at_ns       bigint  not null,
    decision    uuid    not null,
    how         text    not null,
    status      integer,
    bytes_out   bigint  not null,
    bytes_back  bigint  not null,
    duration_ms bigint  not null,
    why         text,
    primary key (lane, index)
);
create index row_ended_decision on row_ended (decision);

-- What goes where, once for each `detail` text (decisions repeat it): join on row_decision.detail.
create table row_flow (
    detail     bytea   not null,
    n          integer not null,
    component  text    not null,
    regime     text    not null,
    flow       text    not null,
    from_place text,
    to_place   text    not null,
    entity     text,
    outcome    text    not null,
    primary key (detail, n)
);
create index row_flow_places on row_flow (from_place, to_place);

create table projection_cursor (
    lane       integer primary key,
    next_index bigint not null
);
