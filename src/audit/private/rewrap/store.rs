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

type Row = (Uuid, String, Vec<u8>, String, Vec<u8>);

/// Data keys under another master key than this one.
pub(super) async fn former(
    connection: &mut PgConnection,
    master: &str,
    limit: i64,
) -> Result<Vec<Wrapped>, sqlx::Error> {
    let select = "select id, org, subject, master, wrapped from audit_key
                  where master <> $1 order by id limit $2 for update";
    let rows: Vec<Row> =
        sqlx::query_as(select).bind(master).bind(limit).fetch_all(connection).await?;
    let wrapped = |(id, org, subject, master, bytes): Row| {
        let subject = subject.try_into().unwrap_or_default();
        Wrapped { id, org, subject, master, bytes }
    };
    Ok(rows.into_iter().map(wrapped).collect())
}

pub(super) async fn replace(
    connection: &mut PgConnection,
    anew: &[Wrapped],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update audit_key k set subject = n.subject, master = n.master, wrapped = n.wrapped
         from unnest($1::uuid[], $2::bytea[], $3::text[], $4::bytea[]) as n (id, subject, master, wrapped)
         where k.id = n.id",
    )
    .bind(anew.iter().map(|key| key.id).collect::<Vec<_>>())
    .bind(anew.iter().map(|key| key.subject.to_vec()).collect::<Vec<_>>())
    .bind(anew.iter().map(|key| key.master.clone()).collect::<Vec<_>>())
    .bind(anew.iter().map(|key| key.bytes.clone()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
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
                  where value is not null order by digest limit $1 for update";
    sqlx::query_as(select).bind(limit).fetch_all(connection).await
}

pub(super) async fn seal(
    connection: &mut PgConnection,
    key: &Wrapped,
    digest: &[u8; 32],
    sealed: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with made as (
             insert into audit_key (id, org, subject, master, wrapped) values ($1, $2, $3, $4, $5)
         )
         update audit_private set salt = null, value = null, lane = 0, index = 0, key = $1, sealed = $7 where digest = $6",
    )
    .bind(key.id)
    .bind(&key.org)
    .bind(key.subject.as_slice())
    .bind(&key.master)
    .bind(key.bytes.as_slice())
    .bind(digest.as_slice())
    .bind(sealed)
    .execute(connection)
    .await?;
    Ok(())
}
