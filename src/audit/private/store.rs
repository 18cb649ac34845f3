//! What is kept of people, in Postgres: sealed values and wrapped keys. Lanes only insert (`commit`); here they are read.

use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// A value as it is kept. `salt` and `value` are there in rows of earlier versions alone.
#[derive(FromRow)]
pub(super) struct Kept {
    pub kind: String,
    pub org: String,
    pub salt: Option<Vec<u8>>,
    pub value: Option<String>,
    pub lane: Option<i32>,
    pub index: Option<i64>,
    pub sealed: Option<Vec<u8>>,
    #[sqlx(flatten)]
    pub key: KeptKey,
}

/// The key of a value; absent when it was destroyed, or never was.
#[derive(FromRow)]
pub(super) struct KeptKey {
    pub id: Option<Uuid>,
    pub subject: Option<Vec<u8>>,
    pub master: Option<String>,
    pub wrapped: Option<Vec<u8>>,
}

/// The value behind a digest, with its key.
pub(super) async fn kept(
    connection: &mut PgConnection,
    digest: &[u8; 32],
) -> Result<Option<Kept>, sqlx::Error> {
    sqlx::query_as(
        "select p.kind, p.org, p.salt, p.value, p.lane, p.index, p.sealed,
                k.id, k.subject, k.master, k.wrapped
         from audit_private p left join audit_key k on k.id = p.key where p.digest = $1",
    )
    .bind(digest.as_slice())
    .fetch_optional(connection)
    .await
}
