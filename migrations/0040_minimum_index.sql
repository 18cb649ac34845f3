-- C2SP tlog-tiles, "Pruning": below this index the log no longer publishes. Zero until a retention policy says otherwise; only
-- the schema's owner raises it, and nothing is deleted by it.
alter table log_head add column minimum_index bigint not null default 0
    check (minimum_index between 0 and size);
