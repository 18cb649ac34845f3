-- Values behind salted digests are kept sealed: salt and value under a data key of the person, and that under a master key which
-- the database never sees. Without a master key nothing is kept but the digest. The gateway writes and never reads them.

do $$
begin
    begin
        if not exists (select from pg_roles where rolname = 'haetae_privacy') then
            create role haetae_privacy nologin;
        end if;
    exception when duplicate_object or unique_violation then
        null; -- another migration made it just now
    end;
    begin
        if not pg_has_role(current_user, 'haetae_privacy', 'member') then
            execute format('grant haetae_privacy to %I', current_user);
        end if;
    exception when insufficient_privilege then
        raise notice 'ask an administrator to grant haetae_privacy to %', current_user;
    end;
end $$;

create table audit_key (
    id      uuid primary key,
    org     text  not null,
    -- HMAC of the person's name under a key made of the master key: whoever has it not cannot tell whose key it is.
    subject bytea not null check (length(subject) = 32),
    -- Name of the master key.
    master  text  not null,
    wrapped bytea not null check (length(wrapped) = 92),
    at      timestamptz not null default now()
);
create index audit_key_subject on audit_key (subject);

-- Rows of versions before this one have salt and value in clear, until `haetae audit rewrap` seals them.
alter table audit_private
    alter column salt drop not null,
    alter column value drop not null,
    add column lane   integer,
    -- Of the first record that has the digest.
    add column index  bigint,
    add column key    uuid,
    add column sealed bytea check (length(sealed) >= 44);
alter table audit_private add constraint audit_private_sealed_or_clear check (
    num_nonnulls(salt, value) = 2 and num_nonnulls(lane, index, key, sealed) = 0
    or num_nonnulls(salt, value) = 0 and num_nonnulls(lane, index, key, sealed) = 4);
create index audit_private_key on audit_private (key);

-- No value goes into the planner's statistics, and what went there before is taken out (a change of type does it).
alter table audit_private alter column salt set statistics 0, alter column value set statistics 0;
alter table audit_private alter column salt type bytea, alter column value type text;
alter table log_outbox alter column people set statistics 0;

-- Raised by each erasure, under the lock that every commit shares: so no record is committed that still uses a digest of
-- before, and a person who comes back gets a new salt.
alter table fact_head add column erasures bigint not null default 0 check (erasures >= 0);

-- An erasure takes two persons. Emptied of the subject when it is done.
create table erasure (
    id         uuid   primary key,
    -- null: of every organisation
    org        text,
    -- As in audit_key, with the name of the master key.
    subject    bytea  check (length(subject) = 32),
    master     text   not null,
    reason     text   not null check (length(reason) between 1 and 200),
    -- Who asked, as SHA-256 of salt and name: enough to tell that who confirms is somebody else.
    asked_salt bytea  not null check (length(asked_salt) = 16),
    asked      bytea  not null check (length(asked) = 32),
    -- Unix seconds
    asked_at_s bigint not null,
    done_at_s  bigint,
    check ((done_at_s is null) = (subject is not null))
);

alter table log_outbox drop constraint log_outbox_kind_check;
alter table log_outbox add constraint log_outbox_kind_check check (kind in (
    'policy_change', 'hold_vote', 'hold_resolved', 'override', 'order', 'access_change', 'obligation_closed', 'review',
    'alarm', 'rollback', 'key_event', 'read', 'erase'));

revoke all on audit_key, erasure from public;
grant insert on audit_key to haetae_gateway;
grant usage on schema public to haetae_privacy;
grant select, delete on audit_private, audit_key to haetae_privacy;
grant insert on audit_key to haetae_privacy;
grant update (org, subject, master, wrapped) on audit_key to haetae_privacy;
grant update (salt, value, lane, index, key, sealed) on audit_private to haetae_privacy;
grant select, update (erasures) on fact_head to haetae_privacy;
grant select, insert, update (subject, done_at_s) on erasure to haetae_privacy;
grant insert on log_outbox to haetae_privacy;
-- Who asked for a hold, or voted on it, stands beside it as a digest with a salt of its own.
grant select, update (asked) on hold to haetae_privacy;
grant select, update (person) on hold_vote to haetae_privacy;
grant select on hold_resolution to haetae_privacy;
-- What is disclosed is shown with its record and the record's proof.
grant select on log_head, log_batch, log_tile, log_checkpoint, projection_cursor, row_decision, row_started, row_ended
    to haetae_privacy;
