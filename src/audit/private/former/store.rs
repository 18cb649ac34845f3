//! Keys as they were before they were wrapped anew.

use sqlx::{PgConnection, Row as _, postgres::PgRow};
use uuid::Uuid;

use crate::privacy::Wrapped;

/// A key as it is wrapped now, and one of the values that are sealed under it.
pub(super) struct Key {
    pub wrapped: Wrapped,
    pub value: Option<Value>,
}

pub(super) struct Value {
    pub lane: i32,
    pub index: i64,
    pub field: String,
    pub digest: Vec<u8>,
    pub sealed: Vec<u8>,
}

pub(super) async fn is_kept(
    connection: &mut PgConnection,
    master: &str,
) -> Result<bool, sqlx::Error> {
    let select = "select exists (select from audit_key_former where master = $1)";
    sqlx::query_scalar(select).bind(master).fetch_one(connection).await
}

pub(super) async fn ask(
    connection: &mut PgConnection,
    master: &str,
    by: &str,
    reason: &str,
) -> Result<Uuid, sqlx::Error> {
    let ask = "select former_ask($1, $2, $3)";
    sqlx::query_scalar(ask).bind(master).bind(reason).bind(by).fetch_one(connection).await
}

/// When it was done before, or how many were forgotten and how many are left.
pub(super) async fn forget(
    connection: &mut PgConnection,
    id: Uuid,
    master: &str,
    by: &str,
) -> Result<(Option<i64>, Option<i64>, Option<i64>), sqlx::Error> {
    let forget = "select already_at_s, forgotten, kept from former_forget($1, $2, $3)";
    sqlx::query_as(forget).bind(id).bind(master).bind(by).fetch_one(connection).await
}

/// Keys that were once wrapped under this master key, in the order of their ids, after `last`.
pub(super) async fn keys(
    connection: &mut PgConnection,
    master: &str,
    last: Uuid,
    limit: i64,
) -> Result<Vec<Key>, sqlx::Error> {
    let rows = sqlx::query(KEYS).bind(master).bind(last).bind(limit).fetch_all(connection).await?;
    rows.iter().map(key).collect()
}

fn key(row: &PgRow) -> Result<Key, sqlx::Error> {
    let subject: Vec<u8> = row.try_get(2)?;
    let wrapped = Wrapped {
        id: row.try_get(0)?,
        org: row.try_get(1)?,
        subject: subject.try_into().unwrap_or_default(),
        master: row.try_get(3)?,
        bytes: row.try_get(4)?,
    };
    let digest: Option<Vec<u8>> = row.try_get(5)?;
    let value = |digest| {
        Ok::<_, sqlx::Error>(Value {
            digest,
            field: row.try_get(6)?,
            lane: row.try_get(7)?,
            index: row.try_get(8)?,
            sealed: row.try_get(9)?,
        })
    };
    Ok(Key { wrapped, value: digest.map(value).transpose()? })
}

const KEYS: &str = "
    select k.id, k.org, k.subject, k.master, k.wrapped, p.digest, p.kind, p.lane, p.index, p.sealed
    from audit_key k
    left join lateral (select * from audit_private p where p.key = k.id limit 1) p on true
    where k.id > $2 and exists (select from audit_key_former f where f.key = k.id and f.master = $1)
    order by k.id limit $3";
