-- Who ends the ALLOWs of processes that are gone. One process at a time, and under a random number of its own: the commit of such an
-- end holds the number, so that who closes next waits for it and sees the end, or is first and the end is not written.

create table log_closer (
    id   integer primary key check (id = 1),
    term bigint  not null check (term >= 0)
);

grant select, insert, update (term) on log_closer to haetae_gateway;
