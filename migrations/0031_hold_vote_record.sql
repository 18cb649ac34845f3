-- Each vote on a hold is a record of its own; the one that settles a hold is followed by `hold_resolved`.

alter table log_outbox drop constraint log_outbox_kind_check;
alter table log_outbox add constraint log_outbox_kind_check check (kind in (
    'policy_change', 'hold_vote', 'hold_resolved', 'override', 'order', 'access_change', 'obligation_closed', 'review',
    'alarm', 'rollback', 'key_event'));
