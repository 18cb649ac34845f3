//! How the tables are made now.

use sqlx::PgPool;

/// The newest migration that this database has seen, and what its tables come to, a line each.
pub(super) async fn lines(pool: &PgPool) -> Result<(i64, Vec<String>), sqlx::Error> {
    let newest = "select coalesce(max(version), 0) from _sqlx_migrations where success";
    let newest = sqlx::query_scalar(newest).fetch_one(pool).await?;
    let lines = sqlx::query_scalar(include_str!("lines.sql")).fetch_all(pool).await?;
    Ok((newest, lines))
}
