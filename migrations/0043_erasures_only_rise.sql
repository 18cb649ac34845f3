-- Whoever could lower the number of erasures could let a lane go on with digests of before.

create function fact_head_erasures_only_rise() returns trigger language plpgsql as $$
begin
    if new.erasures < old.erasures then
        raise exception 'the number of erasures only rises' using errcode = 'insufficient_privilege';
    end if;
    return new;
end $$;
create trigger fact_head_erasures_only_rise before update of erasures on fact_head
    for each row execute function fact_head_erasures_only_rise();
