//! Data keys that are wrapped anew, and values in clear that are sealed.

use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::privacy::Wrapped;

/// A row of a version that kept values in clear.
#[derive(FromRow)]
pub(super) struct Clear {
    pub digest: Vec<u8>,
    pub kind: String,
    pub org: String,
    pub salt: Vec<u8>,
    pub value: String,
}

/// The same sealed, with its new key.
pub(super) struct Sealed {
    pub key: Wrapped,
    pub digest: [u8; 32],
    pub bytes: Vec<u8>,
}

type Row = (Uuid, String, Vec<u8>, String, Vec<u8>);

/// Data keys under another master key than this one.
pub(super) async fn former(
    connection: &mut PgConnection,
    master: &str,
    limit: i64,
) -> Result<Vec<Wrapped>, sqlx::Error> {
    let select = "select id, org, subject, master, wrapped from audit_key
                  where master <> $1 order by id limit $2";
    let rows: Vec<Row> =
        sqlx::query_as(select).bind(master).bind(limit).fetch_all(connection).await?;
    let wrapped = |(id, org, subject, master, bytes): Row| {
        let subject = subject.try_into().unwrap_or_default();
        Wrapped { id, org, subject, master, bytes }
    };
    Ok(rows.into_iter().map(wrapped).collect())
}

/// Gives how many were replaced: not those that another process wrapped or destroyed meanwhile.
pub(super) async fn replace(
    connection: &mut PgConnection,
    master: &str,
    anew: &[Wrapped],
    by: &str,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select privacy_rewrap($1, $2, $3, $4, $5)")
        .bind(master)
        .bind(anew.iter().map(|key| key.id).collect::<Vec<_>>())
        .bind(anew.iter().map(|key| key.subject.to_vec()).collect::<Vec<_>>())
        .bind(anew.iter().map(|key| key.bytes.clone()).collect::<Vec<_>>())
        .bind(by)
        .fetch_one(connection)
        .await
}

pub(super) async fn left(pool: &PgPool, master: &str) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let select =
        "select master, count(*) from audit_key where master <> $1 group by master order by master";
    sqlx::query_as(select).bind(master).fetch_all(pool).await
}

pub(super) async fn clear(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Vec<Clear>, sqlx::Error> {
    let select = "select digest, kind, org, salt, value from audit_private
                  where value is not null order by digest limit $1";
    sqlx::query_as(select).bind(limit).fetch_all(connection).await
}

pub(super) async fn seal(
    connection: &mut PgConnection,
    master: &str,
    rows: &[Sealed],
    by: &str,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select privacy_seal($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(master)
        .bind(rows.iter().map(|row| row.digest.to_vec()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.key.id).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.key.org.clone()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.key.subject.to_vec()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.key.bytes.clone()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.bytes.clone()).collect::<Vec<_>>())
        .bind(by)
        .fetch_one(connection)
        .await
}
