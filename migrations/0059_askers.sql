-- Who asked for an erasure, or for a forgetting, is needed until a second person confirms it, to tell that it is somebody else. After that a
-- digest of a name with its salt beside it would name a person to whoever tries, for good, whom an erasure of her own does not reach.

create function asker_is_nobodys() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    new.asked_salt := uuid_send(gen_random_uuid());
    new.asked := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
    return new;
end $$;
revoke all on function asker_is_nobodys() from public;
create trigger asker_is_nobodys before update of done_at_s on erasure for each row
    when (old.done_at_s is null and new.done_at_s is not null) execute function asker_is_nobodys();
create trigger asker_is_nobodys before update of done_at_s on former_forgetting for each row
    when (old.done_at_s is null and new.done_at_s is not null) execute function asker_is_nobodys();

update erasure set asked_salt = uuid_send(gen_random_uuid()),
                   asked = sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
where done_at_s is not null;
update former_forgetting set asked_salt = uuid_send(gen_random_uuid()),
                             asked = sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
where done_at_s is not null;
alter table erasure alter column asked set statistics 0, alter column asked_salt set statistics 0;
alter table former_forgetting alter column asked set statistics 0, alter column asked_salt set statistics 0;
