-- Bundles that a replica has at hand and that break a canary of the one in force, each with the cause at the same place: they can be
-- judged with, but not be activated in its place.
alter table policy_replica
    add column breaks text[] not null default '{}',
    add column breaks_why text[] not null default '{}';

grant update (breaks, breaks_why) on policy_replica to haetae_gateway;
