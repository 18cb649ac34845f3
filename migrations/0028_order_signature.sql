-- What authorities signed: the note over the text of an order, or over the text of its end, beside the version of the
-- facts in which it was entered. The order itself is an entry of the registry like any other.

create table order_signature (
    id        text   not null,
    version   bigint not null references registry_version (version),
    act       text   not null check (act in ('add', 'end')),
    authority text   not null,
    -- name+id of the key (C2SP signed-note)
    key       text   not null,
    note      text   not null check (octet_length(note) <= 163840),
    primary key (id, version, act)
);
create unique index order_signature_once on order_signature (id) where act = 'add';

revoke all on order_signature from public;
grant select, insert on order_signature to haetae_registrar;
grant select on order_signature to haetae_gateway, haetae_reader;
