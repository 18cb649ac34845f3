-- A lane that the database lost records of is dead: it is never signed again. The slot's next generation is lane + 16.
alter table log_head drop constraint log_head_lane_check;
alter table log_head add constraint log_head_lane_check check (lane between 0 and 4095);
alter table log_head
    add column dead_at   timestamptz,
    -- What was known of it: more than what was found, or another root.
    add column dead_size bigint check (dead_size >= 0),
    add column dead_root bytea check (length(dead_root) = 32),
    add constraint log_head_dead check ((dead_at is null) = (dead_size is null) and (dead_at is null) = (dead_root is null));
grant update (dead_at, dead_size, dead_root) on log_head to haetae_gateway;
