-- What witnesses said of published checkpoints: a signature line (C2SP tlog-cosignature) for each witness and checkpoint. Lines
-- are shown under the checkpoint's own signature; the checkpoint itself stays as it was published.

create table log_cosignature (
    lane    integer not null,
    size    bigint  not null,
    -- name of the witness's key
    witness text    not null,
    -- of the cosignature, Unix seconds
    at_s    bigint  not null,
    -- without its newline
    line    text    not null check (line like '— %' and position(E'\n' in line) = 0),
    primary key (lane, size, witness),
    foreign key (lane, size) references log_checkpoint
);

revoke all on log_cosignature from public;
grant select, insert on log_cosignature to haetae_gateway;
grant select on log_cosignature to haetae_reader;
