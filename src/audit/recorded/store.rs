//! Where in a lane a time begins.

use sqlx::PgConnection;

use crate::audit::AuditError;

/// Index of the first leaf of the first batch that may hold records of an instant (Unix seconds) or later; `None` when
/// there is none. Batches are dated by the database's clock, leaves by the gateway's.
pub(super) async fn first_since(
    connection: &mut PgConnection,
    lane: u16,
    since: i64,
) -> Result<Option<i64>, AuditError> {
    let select = "select min(first_index) from log_batch
                  where lane = $1 and at >= to_timestamp($2::bigint)";
    let query =
        sqlx::query_scalar(select).bind(i32::from(lane)).bind(since.saturating_sub(CLOCKS_APART_S));
    Ok(query.fetch_one(connection).await?)
}

/// Clocks that are further apart raise an alarm elsewhere; more leaves than needed are read, never fewer.
const CLOCKS_APART_S: i64 = 300;
