-- Since organisations' administrators change access entries through the gateway, its login may raise the version of the facts.
-- Nobody may lower it: a decision judged on facts that were replaced could be committed then.

create function fact_head_only_rises() returns trigger language plpgsql as $$
begin
    if new.version < old.version then
        raise exception 'the version of the facts only rises' using errcode = 'insufficient_privilege';
    end if;
    return new;
end $$;
create trigger fact_head_only_rises before update on fact_head
    for each row execute function fact_head_only_rises();
