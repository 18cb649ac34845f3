-- Delegated administration: an organisation's administrator asks the gateway, which may write access entries and nothing
-- else of the registry. Whether somebody may is checked by the gateway under the registry's lock.

alter table registry_entry enable row level security;
create policy read_all on registry_entry for select using (true);
create policy registrar_writes on registry_entry for insert to haetae_registrar with check (true);
create policy registrar_ends on registry_entry for update to haetae_registrar using (true);
create policy gateway_writes_access on registry_entry for insert to haetae_gateway
    with check (sort in ('access_row', 'role_grant'));
create policy gateway_ends_access on registry_entry for update to haetae_gateway
    using (sort in ('access_row', 'role_grant'));

grant insert on registry_version, registry_entry to haetae_gateway;
grant update (version_until) on registry_entry to haetae_gateway;
grant update (version) on fact_head to haetae_gateway;
