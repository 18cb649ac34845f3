-- What an erasure must find, and what ANALYZE must not copy.

-- Values that are different in each row would stand in the planner's statistics, from where no erasure removes them.
alter table audit_private alter column sealed set statistics 0;
alter table audit_key alter column wrapped set statistics 0, alter column subject set statistics 0;
alter table erasure alter column subject set statistics 0;
alter table hold alter column asked set statistics 0, alter column asked_salt set statistics 0;
alter table hold_vote alter column person set statistics 0;

-- An act that waits to be recorded has names in clear, and would be sealed anew after the erasure.
grant select (people, written) on log_outbox to haetae_privacy;
