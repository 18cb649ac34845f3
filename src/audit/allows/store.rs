//! Reads the projections of decisions and their ends.

use sqlx::PgPool;

use super::Allowed;

pub(super) async fn allows(
    pool: &PgPool,
    site: &str,
    from_ns: i64,
    to_ns: i64,
) -> Result<Vec<Allowed>, sqlx::Error> {
    let select = "
        select d.id, h.origin, d.index, d.at_ns,
               (select e.how from row_ended e where e.decision = d.id order by e.at_ns limit 1) as how
        from row_decision d join log_head h using (lane)
        where d.site = $1 and d.at_ns >= $2 and d.at_ns < $3
        order by d.at_ns, d.lane, d.index";
    sqlx::query_as(select).bind(site).bind(from_ns).bind(to_ns).fetch_all(pool).await
}

/// Lanes and their sizes.
pub(super) async fn sizes(pool: &PgPool) -> Result<Vec<(i32, i64)>, sqlx::Error> {
    sqlx::query_as("select lane, size from log_head").fetch_all(pool).await
}

pub(super) async fn are_projected(
    pool: &PgPool,
    sizes: &[(i32, i64)],
) -> Result<bool, sqlx::Error> {
    let (lanes, sizes): (Vec<i32>, Vec<i64>) = sizes.iter().copied().unzip();
    let behind = "
        select not exists (
            select 1 from unnest($1::int[], $2::bigint[]) as wanted (lane, size)
            left join projection_cursor using (lane) where coalesce(next_index, 0) < wanted.size)";
    sqlx::query_scalar(behind).bind(lanes).bind(sizes).fetch_one(pool).await
}
