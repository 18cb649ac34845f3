-- Postgres reads and plans the check constraints of a table again for every statement that writes a row of it (0050); the five
-- that a commit still met, each time with cold caches after the wait for the disk, were an eighth of a commit of one record
-- (docs/bench.md). The constraints of a domain are read once by a session. So what a commit writes is held by domains, and
-- what it never writes by the trigger that is there already. What spans two columns no domain holds: that a batch has as many
-- marks as leaves (`haetae log verify` counts them), and that a head does not shrink below its minimum index or below zero (its
-- size is written by the commit alone, which only lets it grow).

-- The head first, as a commit takes them. Every wait is short: lanes queue behind it, and give up after 1.5 s; Postgres looks for
-- deadlocks after one. Who reads head or batches for longer (log verify, an export, pg_dump) is waited for without a lock, for some
-- four minutes; then this fails and nothing is changed: run it again when they are done.
do $$ declare tries integer := 0; begin
    loop
        begin
            set local lock_timeout = '200ms';
            lock table log_head in access exclusive mode;
            set local lock_timeout = '200ms';
            lock table log_batch in access exclusive mode;
            set local lock_timeout to default;
            return;
        exception when lock_not_available then
            tries := tries + 1;
            if tries >= 300 then raise; end if;
            perform pg_sleep(0.5);
        end;
    end loop;
end $$;

-- What a session of before asked for these columns fails there until it connects again (0A000): the projection does so by itself;
-- looks back at the heads are warnings, and entry bundles are not served, until the gateway is started anew. Checkpoints, tiles
-- and commits go on.

-- A domain without a constraint makes no table be written anew; the rows that are there met the same constraints.
create domain record_index as bigint;
create domain record_count as integer;
create domain sha256_digest as bytea;
create domain leaf_marks as bytea;

alter table log_batch
    drop constraint log_batch_first_index_check,
    drop constraint log_batch_count_check,
    drop constraint log_batch_check,
    alter column first_index type record_index,
    alter column count type record_count,
    alter column marks type leaf_marks;
alter table log_head
    drop constraint log_head_root_check,
    drop constraint log_head_check,
    alter column root type sha256_digest;

alter domain record_index add constraint record_index_check check (value >= 0) not valid;
alter domain record_count add constraint record_count_check check (value > 0) not valid;
alter domain sha256_digest add constraint sha256_digest_check check (length(value) = 32) not valid;
-- The first eight bytes of each leaf's hash.
alter domain leaf_marks add constraint leaf_marks_check check (length(value) > 0 and length(value) % 8 = 0) not valid;

create or replace function log_head_is_sound() returns trigger language plpgsql as $$
begin
    if new.lane not between 0 and 4095 then
        raise exception 'lane % is not between 0 and 4095', new.lane using errcode = 'check_violation';
    end if;
    if num_nulls(new.dead_at, new.dead_size, new.dead_root) not in (0, 3) then
        raise exception 'lane % is dead in part: when, size and root go together', new.lane using errcode = 'check_violation';
    end if;
    if new.dead_size < 0 or length(new.dead_root) <> 32 then
        raise exception 'lane % died at a size below 0, or at a root that is not 32 bytes', new.lane using errcode = 'check_violation';
    end if;
    if new.minimum_index not between 0 and new.size then
        raise exception 'the minimum index of lane % is not within it', new.lane using errcode = 'check_violation';
    end if;
    return null;
end
$$;
drop trigger log_head_is_sound on log_head;
create trigger log_head_is_sound
    after insert or update of lane, dead_at, dead_size, dead_root, minimum_index on log_head
    for each row execute function log_head_is_sound();
