-- What any login of the database could do before: take the owner's place in a function of his, and hold locks that gateways wait for.

-- Where `pg_temp` is not named it is searched first: a table of that name in one's own session stood for ours, and its trigger ran
-- as the owner. Every other function of ours that runs as its owner names it last.
alter function policy_fall_back(bigint, bigint) set search_path = pg_catalog, public, pg_temp;

-- Advisory locks say who holds a lane, which gateway lives, who projects, and who changes facts. Whoever only reads has no use for
-- them, and by holding one keeps lanes, ends of ALLOWs, query tables or orders from everybody. The functions are this database's own;
-- only who owns them may say who calls them. Where that is not us, `haetae migrate` says at its end what an administrator is to run,
-- until it was run: a grant without a revoke protects nobody, and a revoke without a grant stops every gateway.
do $$
declare
    taken regprocedure;
    owner text := (select relowner::regrole from pg_class where oid = 'public.log_head'::regclass);
begin
    if not pg_has_role((select proowner from pg_proc where oid = 'pg_advisory_lock(bigint)'::regprocedure), 'usage') then
        return;
    end if;
    for taken in
        select oid::regprocedure from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace and proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$'
    loop
        -- Before it is taken from everybody: sqlx itself takes one while it migrates.
        execute format('grant execute on function %s to haetae_gateway, haetae_registrar, %s, %I', taken, owner, current_user);
        execute format('revoke execute on function %s from public', taken);
    end loop;
end $$;
