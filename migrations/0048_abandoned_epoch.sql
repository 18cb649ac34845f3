-- A process that was out of reach for some seconds counts as gone: its ALLOWs are closed by another. From this mark on they are
-- not its own to end: a process that comes back looks for it before it writes anything.
alter table log_epoch add column abandoned boolean not null default false;
create index log_epoch_abandoned on log_epoch (instance) where abandoned;
grant update (abandoned) on log_epoch to haetae_gateway;
