-- How the tables are made that the log, and what it decides by, lie in: a line for each thing that can change what a statement does to them.
-- `fact_head` is only looked at by a commit, which no trigger sees, and whoever raises its version reads it back. Of expressions only that they are there, since Postgres writes them anew in each version.
with wanted as (
    select c.oid, c.relname::text as name, c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity
    from pg_catalog.pg_class c
    where c.relnamespace = (select relnamespace from pg_catalog.pg_class where oid = 'log_head'::regclass)
      and c.relname in ('log_head', 'log_batch', 'log_tile', 'log_text', 'log_checkpoint', 'log_cosignature', 'log_epoch', 'log_outbox',
                        'log_closer', 'audit_key', 'audit_private', 'reservation', 'hold', 'projection_cursor',
                        'row_decision', 'row_started', 'row_ended', 'row_flow', 'registry_entry', 'registry_version')
)
select line from (
    select 'table ' || name || ' ' || relkind::text || relpersistence::text
           || case when relrowsecurity then ' rls' else '' end
           || case when relforcerowsecurity then ' forced' else '' end
           || case when exists (select from pg_catalog.pg_inherits i where oid in (i.inhparent, i.inhrelid)) then ' inherits' else '' end as line
    from wanted
    union all
    select 'trigger ' || name || '.' || t.tgname || ' ' || p.proname || ' ' || t.tgtype || t.tgenabled::text || ' '
           || left(encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex'), 32)
    from wanted join pg_catalog.pg_trigger t on t.tgrelid = wanted.oid join pg_catalog.pg_proc p on p.oid = t.tgfoid
    where not t.tgisinternal
    union all
    select 'rule ' || name || '.' || r.rulename || ' ' || r.ev_type::text || r.ev_enabled::text
    from wanted join pg_catalog.pg_rewrite r on r.ev_class = wanted.oid
    union all
    select 'constraint ' || name || '.' || k.conname || ' ' || k.contype::text || case when k.convalidated then '' else ' not valid' end
    from wanted join pg_catalog.pg_constraint k on k.conrelid = wanted.oid
    where k.contype in ('p', 'u', 'c', 'f', 'x')
    union all
    select 'policy ' || name || '.' || y.polname || ' ' || y.polcmd::text || case when y.polpermissive then '' else ' restrictive' end
    from wanted join pg_catalog.pg_policy y on y.polrelid = wanted.oid
) as lines (line)
order by line collate "C"
