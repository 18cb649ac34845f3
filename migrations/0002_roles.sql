-- Least rights. Both are groups without a login: whoever runs the gateway or reviews the log is made a member.
-- Roles belong to the whole cluster, so another database may have made them already.

do $$
declare
    name text;
begin
    foreach name in array array['haetae_gateway', 'haetae_reader'] loop
        begin
            if not exists (select from pg_roles where rolname = name) then
                execute format('create role %I nologin', name);
            end if;
        exception when duplicate_object or unique_violation then
            null; -- another migration made it just now
        end;
        begin
            if not pg_has_role(current_user, name, 'member') then
                execute format('grant %I to %I', name, current_user);
            end if;
        exception when insufficient_privilege then
            raise notice 'ask an administrator to grant % to %', name, current_user;
        end;
    end loop;
end $$;

grant usage on schema public to haetae_gateway, haetae_reader;

-- The gateway appends. It can neither change nor remove what it wrote: no DELETE, no TRUNCATE, no UPDATE but of these columns.
grant select, insert on log_batch, log_tile, log_text, log_checkpoint, audit_private, log_epoch, log_head, projection_cursor,
    row_decision, row_started, row_ended, row_flow to haetae_gateway;
grant update (epoch, size, frontier, root, last_ns) on log_head to haetae_gateway;
grant update (settled) on log_epoch to haetae_gateway;
grant update (next_index) on projection_cursor to haetae_gateway;
grant select on fact_head to haetae_gateway;
grant update (lockable) on fact_head to haetae_gateway;

-- Reviewers read everything but the values behind salted digests.
grant select on log_head, log_epoch, log_batch, log_tile, log_text, log_checkpoint, fact_head, projection_cursor,
    row_decision, row_started, row_ended, row_flow to haetae_reader;
