-- A new master key is one login's act, and what it writes in place of a wrapped key the database cannot check. So what was there
-- before stays beside it until the person is erased: nobody destroys a key alone by rewrapping it.

create table audit_key_former (
    key     uuid  not null references audit_key on delete cascade,
    subject bytea not null,
    master  text  not null,
    wrapped bytea not null,
    -- who replaced it
    login   name  not null default session_user,
    at      timestamptz not null default clock_timestamp()
);
create index audit_key_former_key on audit_key_former (key);
alter table audit_key_former alter column subject set statistics 0, alter column wrapped set statistics 0;
revoke all on audit_key_former from public;
grant select on audit_key_former to haetae_privacy;

create function audit_key_is_kept() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into public.audit_key_former (key, subject, master, wrapped) values (old.id, old.subject, old.master, old.wrapped);
    return null;
end $$;
create trigger audit_key_is_kept after update on audit_key for each row
    when ((old.master, old.wrapped, old.subject) is distinct from (new.master, new.wrapped, new.subject))
    execute function audit_key_is_kept();
revoke all on function audit_key_is_kept() from public;
