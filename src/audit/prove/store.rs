//! Batches by the leaves in them, and where an organisation's record stands.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::audit::store::{big, small};

/// The batches that hold leaves `from <= index < to`, in order, and no further ones, which may be large: first index, and the leaves (a
/// C2SP entry bundle).
pub(super) async fn batches(
    connection: &mut PgConnection,
    lane: u16,
    from: u64,
    to: u64,
) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
    let select = "select first_index, leaves from log_batch
                  where lane = $1 and first_index < $3 and first_index >=
                        (select coalesce(max(first_index), 0) from log_batch where lane = $1 and first_index <= $2)
                  order by first_index";
    let query = sqlx::query_as(select).bind(i32::from(lane)).bind(big(from)).bind(big(to));
    let rows: Vec<(i64, Vec<u8>)> = query.fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(first, leaves)| (small(first), leaves)).collect())
}

/// Postgres ends each later statement of this transaction that takes longer than a second: they read a few entries of an index.
pub(super) async fn limit(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("set local statement_timeout = '1s'").execute(connection).await.map(drop)
}

/// Where a decision of this organisation stands, as the query tables say: lane and index.
pub(super) async fn place_of(
    connection: &mut PgConnection,
    id: Uuid,
    org: &str,
) -> Result<Option<(u16, u64)>, sqlx::Error> {
    let select = "select lane, index from row_decision where id = $1 and org = $2";
    let row: Option<(i32, i64)> =
        sqlx::query_as(select).bind(id).bind(org).fetch_optional(connection).await?;
    Ok(row.map(|(lane, index)| (number(lane), small(index))))
}

/// Every lane with its size, those that are dead too.
pub(super) async fn lanes(connection: &mut PgConnection) -> Result<Vec<(u16, u64)>, sqlx::Error> {
    let select = "select lane, size from log_head order by lane";
    let rows: Vec<(i32, i64)> = sqlx::query_as(select).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(lane, size)| (number(lane), small(size))).collect())
}

/// The batch that holds the leaf at an index: its first index, how many leaves it has, and the bytes that it begins with, as many as its
/// first leaf may need.
pub(super) async fn batch_with(
    connection: &mut PgConnection,
    lane: u16,
    index: u64,
) -> Result<Option<(u64, u64, Vec<u8>)>, sqlx::Error> {
    let select = "select first_index, count, substring(leaves for 65537) from log_batch
                  where lane = $1 and first_index <= $2 order by first_index desc limit 1";
    let query = sqlx::query_as(select).bind(i32::from(lane)).bind(big(index));
    let row: Option<(i64, i32, Vec<u8>)> = query.fetch_optional(connection).await?;
    Ok(row.map(|(first, count, begin)| (small(first), small(count.into()), begin)))
}

fn number(lane: i32) -> u16 {
    u16::try_from(lane).unwrap_or(u16::MAX)
}
