//! How far a lane goes.

use sqlx::PgConnection;

use super::Extent;
use crate::audit::store::small;

/// `None`: there is no such lane.
pub(super) async fn extent(
    connection: &mut PgConnection,
    lane: u16,
) -> Result<Option<Extent>, sqlx::Error> {
    let select = "select size, minimum_index from log_head where lane = $1";
    let found: Option<(i64, i64)> =
        sqlx::query_as(select).bind(i32::from(lane)).fetch_optional(connection).await?;
    Ok(found.map(|(size, minimum)| Extent { size: small(size), minimum_index: small(minimum) }))
}
