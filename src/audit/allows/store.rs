//! Reads the projections of decisions and their ends, and the batches of those whose time is in doubt.

use futures_util::stream::BoxStream;
use sqlx::{AssertSqlSafe, PgPool};

use crate::audit::store::big;

/// A decision towards a site, and how it ended.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct AllowRow {
    pub id: uuid::Uuid,
    pub origin: String,
    pub lane: i32,
    pub index: i64,
    pub at_ns: i64,
    pub how: Option<String>,
    /// First index of its batch, where the database wrote that more than a second before `at`.
    pub ahead_in: Option<i64>,
}

/// A batch, with its leaves as a C2SP entry bundle.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Bundle {
    pub lane: i32,
    pub first_index: i64,
    pub leaves: Vec<u8>,
}

/// Those with `at` in this span, and the later ones that were written before its end.
pub(super) async fn allows(
    pool: &PgPool,
    site: &str,
    (from_ns, to_ns): (i64, i64),
) -> Result<Vec<AllowRow>, sqlx::Error> {
    let select = format!(
        "{ALLOWS} where d.site = $1 and d.at_ns >= $2 and (d.at_ns < $3 or b.written_ns < $3)
         order by d.at_ns, d.lane, d.index"
    );
    let query = sqlx::query_as(AssertSqlSafe(select));
    query.bind(site).bind(from_ns).bind(to_ns).fetch_all(pool).await
}

/// Those at these places.
pub(super) async fn allows_at(
    pool: &PgPool,
    site: &str,
    places: &[(&str, u64)],
) -> Result<Vec<AllowRow>, sqlx::Error> {
    let (origins, indexes): (Vec<&str>, Vec<i64>) =
        places.iter().map(|(origin, index)| (*origin, big(*index))).unzip();
    let select = format!(
        "{ALLOWS} join unnest($2::text[], $3::bigint[]) as place (origin, index)
             on h.origin = place.origin and d.index = place.index
         where d.site = $1"
    );
    let query = sqlx::query_as(AssertSqlSafe(select));
    query.bind(site).bind(origins).bind(indexes).fetch_all(pool).await
}

/// The batches of these lanes that begin at these indexes, one after the other.
pub(super) fn batches(
    pool: &PgPool,
    lanes: Vec<i32>,
    firsts: Vec<i64>,
) -> BoxStream<'_, Result<Bundle, sqlx::Error>> {
    let select = "
        select lane, first_index, leaves
        from unnest($1::int[], $2::bigint[]) as wanted (lane, first_index) join log_batch using (lane, first_index)";
    sqlx::query_as(select).bind(lanes).bind(firsts).fetch(pool)
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

const ALLOWS: &str = "
    select d.id, h.origin, d.lane, d.index, d.at_ns,
           (select e.how from row_ended e where e.decision = d.id order by e.at_ns limit 1) as how,
           case when b.written_ns < d.at_ns - 1000000000 then b.first_index end as ahead_in
    from row_decision d join log_head h using (lane)
    left join lateral (
        select first_index, (extract(epoch from at) * 1000000000)::bigint as written_ns from log_batch
        where lane = d.lane and first_index <= d.index order by first_index desc limit 1) b on true";
