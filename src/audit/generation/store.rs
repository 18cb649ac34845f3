//! Which lane of a slot is alive, and the end of one that is not.

use sqlx::{PgConnection, Row as _};
use tlog::{Frontier, Hash};

use super::{Mark, SLOTS};
use crate::audit::{
    AuditError,
    store::{big, hash, small},
};

/// The newest lane of a slot, and whether it is dead.
pub(super) async fn newest(
    connection: &mut PgConnection,
    slot: u16,
) -> Result<Option<(u16, bool)>, sqlx::Error> {
    let select = "select lane, dead_at is not null from log_head
                  where lane % $2 = $1 order by lane desc limit 1";
    let query = sqlx::query_as(select).bind(i32::from(slot)).bind(i32::from(SLOTS));
    let found: Option<(i32, bool)> = query.fetch_optional(connection).await?;
    Ok(found.map(|(lane, dead)| (u16::try_from(lane).unwrap_or(u16::MAX), dead)))
}

/// Declares a lane dead, with what was known of it; its epoch rises, so that nobody who holds it writes any more. False when it was
/// dead already.
pub(in crate::audit) async fn bury(
    connection: &mut PgConnection,
    lane: u16,
    origin: &str,
    known: Mark,
) -> Result<bool, sqlx::Error> {
    let insert = "insert into log_head (lane, origin, frontier, root) values ($1, $2, $3, $4)
                  on conflict do nothing";
    sqlx::query(insert)
        .bind(i32::from(lane))
        .bind(origin)
        .bind(Frontier::new().to_bytes())
        .bind(Hash::EMPTY.0.as_slice())
        .execute(&mut *connection)
        .await?;
    // If we stop here, whoever claims next finds the same and does the same.
    let update =
        "update log_head set epoch = epoch + 1, dead_at = now(), dead_size = $2, dead_root = $3
                  where lane = $1 and dead_at is null";
    let query = sqlx::query(update).bind(i32::from(lane)).bind(big(known.size));
    let done = query.bind(known.root.0.as_slice()).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// The note of the largest checkpoint that was ever kept of a lane.
pub(super) async fn signed(
    connection: &mut PgConnection,
    origin: &str,
) -> Result<Option<String>, sqlx::Error> {
    let select = "select c.note from log_checkpoint c join log_head h using (lane)
                  where h.origin = $1 order by c.size desc limit 1";
    sqlx::query_scalar(select).bind(origin).fetch_optional(connection).await
}

/// What was known of a dead lane, and what was found of it.
pub(super) async fn buried(
    connection: &mut PgConnection,
    lane: u16,
) -> Result<Option<(Mark, Mark)>, AuditError> {
    let select = "select dead_size, dead_root, size, root from log_head
                  where lane = $1 and dead_at is not null";
    let row = sqlx::query(select).bind(i32::from(lane)).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(None) };
    let known = Mark { size: small(row.try_get("dead_size")?), root: hash(&row, "dead_root")? };
    let found = Mark { size: small(row.try_get("size")?), root: hash(&row, "root")? };
    Ok(Some((known, found)))
}

/// System identifier and timeline, e.g. `7574837261947261234/1`; `None` where this login may not ask.
pub(in crate::audit) async fn cluster(
    connection: &mut PgConnection,
) -> Result<Option<String>, sqlx::Error> {
    let allowed = "select has_function_privilege('pg_control_system()', 'execute')
                   and has_function_privilege('pg_walfile_name(pg_lsn)', 'execute')
                   and not pg_is_in_recovery()";
    if !sqlx::query_scalar::<_, bool>(allowed).fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let select = "select (select system_identifier::text from pg_control_system()) || '/' ||
                         ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int";
    sqlx::query_scalar(select).fetch_one(connection).await
}
