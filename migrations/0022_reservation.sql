-- Things that one decision uses up: a slice of a counter, a release, a ground that serves once. A reservation is made
-- under the id of a decision that is not yet written; the statement that writes the decision confirms it, in the same
-- transaction, or writes nothing. So what is `reserved` is not in the log, and what is `confirmed` is.

create table reservation (
    decision uuid primary key,
    -- reserved -> confirmed (its decision is in the log), released (its decision fell or refused) or swept (nobody came
    -- back for it). Never back: a decision whose reservation was swept can no longer be written.
    state    text not null default 'reserved' check (state in ('reserved', 'confirmed', 'released', 'swept')),
    -- By the database's clock alone: replicas need not agree on the time.
    made_at  timestamptz not null default clock_timestamp()
);
create index reservation_open on reservation (made_at) where state = 'reserved';

create table reservation_item (
    decision   uuid     not null references reservation,
    n          smallint not null,
    kind       text     not null check (kind in ('slice', 'release', 'ground')),
    -- slice: the entity whose counter it is; release, ground: the id of what can be used once
    key        text     not null,
    -- Of a slice: under which regime's thresholds, how many people, and from and to where.
    regime     text,
    -- Unix seconds: the instant for which the decision was judged.
    at_s       bigint,
    from_place text,
    categories text[],
    places     text[],
    -- null: nobody knows how many
    subjects   bigint check (subjects >= 0),
    sensitive  bigint check (sensitive >= 0),
    primary key (decision, n),
    check ((kind = 'slice') = (regime is not null and at_s is not null and categories is not null and places is not null))
);
create index reservation_item_slice on reservation_item (key, regime, at_s) where kind = 'slice';
create index reservation_item_once on reservation_item (kind, key) where kind <> 'slice';

revoke all on reservation, reservation_item from public;
grant select, insert on reservation, reservation_item to haetae_gateway;
grant update (state) on reservation to haetae_gateway;
grant select on reservation, reservation_item to haetae_reader;
