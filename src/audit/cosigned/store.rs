//! Checkpoints out, cosignatures in.

use sqlx::PgPool;

use super::Published;
use crate::audit::store::{big, small};

pub(super) async fn published(pool: &PgPool) -> Result<Vec<Published>, sqlx::Error> {
    // One look-up a lane: the table has a row for each second that a lane grew in.
    let select = "
        select h.lane, c.size, c.note from log_head h cross join lateral (
            select size, note from log_checkpoint where lane = h.lane order by size desc limit 1) c
        order by h.lane";
    let rows: Vec<(i32, i64, String)> = sqlx::query_as(select).fetch_all(pool).await?;
    let published = |(lane, size, note)| Published {
        lane: u16::try_from(lane).unwrap_or(u16::MAX),
        size: small(size),
        note,
    };
    Ok(rows.into_iter().map(published).collect())
}

pub(super) async fn keep(
    pool: &PgPool,
    checkpoint: &Published,
    witness: &str,
    at_s: u64,
    line: &str,
) -> Result<(), sqlx::Error> {
    let insert = "insert into log_cosignature (lane, size, witness, at_s, line)
                  values ($1, $2, $3, $4, $5) on conflict do nothing";
    sqlx::query(insert)
        .bind(i32::from(checkpoint.lane))
        .bind(big(checkpoint.size))
        .bind(witness)
        .bind(big(at_s))
        .bind(line)
        .execute(pool)
        .await
        .map(drop)
}
