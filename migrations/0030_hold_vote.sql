-- What persons said of a hold, and what came of it. Only ever inserted. Whoever writes here holds the transaction's
-- advisory lock of the hold, so votes are counted one after the other.

create table hold_vote (
    hold   uuid     not null references hold,
    n      smallint not null,
    -- SHA-256 of the hold's salt and the person's name: the same person has one vote, and none on what it asked itself.
    person bytea    not null check (length(person) = 32),
    choice text     not null check (choice in ('release', 'refuse')),
    reason text     not null check (length(reason) between 1 and 2000),
    -- Seconds for which this person would let it pass.
    for_s  bigint   check (for_s > 0),
    at     timestamptz not null default clock_timestamp(),
    primary key (hold, person),
    unique (hold, n),
    check ((choice = 'release') = (for_s is not null))
);

create table hold_resolution (
    hold    uuid primary key references hold,
    result  text not null check (result in ('released', 'refused')),
    -- Of a release: Unix seconds between which the same request passes once.
    from_s  bigint,
    until_s bigint,
    at      timestamptz not null default clock_timestamp(),
    check ((result = 'released') = (from_s is not null and until_s > from_s))
);

revoke all on hold_vote, hold_resolution from public;
grant select, insert on hold_vote, hold_resolution to haetae_gateway, haetae_registrar;
grant select on hold_vote, hold_resolution to haetae_reader;
-- Who lists holds says whether a release was used.
grant select on reservation, reservation_item to haetae_registrar;
