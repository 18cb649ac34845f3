//! Cosigned checkpoints that hold a record.

use sqlx::PgConnection;

use crate::audit::store::{big, small};

/// Sizes and notes with their cosignatures, the smallest tree first.
pub(super) async fn cosigned(
    connection: &mut PgConnection,
    lane: u16,
    index: u64,
) -> Result<Vec<(u64, String)>, sqlx::Error> {
    let select = "
        select c.size, c.note || string_agg(s.line || E'\\n', '' order by s.witness)
        from log_checkpoint c join log_cosignature s on s.lane = c.lane and s.size = c.size
        where c.lane = $1 and c.size > $2
        group by c.size, c.note order by c.size limit $3";
    let rows: Vec<(i64, String)> = sqlx::query_as(select)
        .bind(i32::from(lane))
        .bind(big(index))
        .bind(WITHIN)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(size, note)| (small(size), note)).collect())
}

/// Some seconds' checkpoints.
const WITHIN: i64 = 16;
