-- What any login of the database could do before: take the owner's place in a function of his, and hold locks that gateways wait for.

-- Where `pg_temp` is not named it is searched first: a table of that name in one's own session stood for ours, and its trigger ran
-- as the owner. Every other function of ours that runs as its owner names it last.
alter function policy_fall_back(bigint, bigint) set search_path = pg_catalog, public, pg_temp;

-- Advisory locks say who holds a lane, which gateway lives, who projects, and who changes facts. Whoever only reads has no use for
-- them, and by holding one keeps lanes, ends of ALLOWs, query tables or orders from everybody. The functions are this database's own.
do $$
declare
    taken regprocedure;
    others text := '';
begin
    for taken in
        select oid::regprocedure from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace and proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$'
    loop
        begin
            -- Before it is taken from everybody: sqlx itself takes one while it migrates.
            execute format('grant execute on function %s to haetae_gateway, haetae_registrar, %I', taken, current_user);
            execute format('revoke execute on function %s from public', taken);
        exception when insufficient_privilege then null;
        end;
        if exists (
            select from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
            where p.oid = taken and a.grantee = 0 and a.privilege_type = 'EXECUTE'
        ) then
            others := others || format(' revoke execute on function %s from public;', taken);
        end if;
    end loop;
    if others <> '' then
        raise notice 'any login of this database can keep gateways waiting; ask an administrator for: %', others;
    end if;
end $$;
