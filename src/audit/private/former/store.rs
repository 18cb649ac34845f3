//! Keys as they were before they were wrapped anew.

use sqlx::{FromRow as _, PgConnection, Row as _, postgres::PgRow};
use uuid::Uuid;

use crate::audit::private::store::Kept;
use crate::privacy::Wrapped;

/// A key as it is wrapped now, and one of the values that are sealed under it, with its digest.
pub(super) struct Key {
    pub wrapped: Wrapped,
    pub value: Option<([u8; 32], Kept)>,
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
    let subject: Vec<u8> = row.try_get("subject")?;
    let wrapped = Wrapped {
        id: row.try_get("id")?,
        org: row.try_get("of_org")?,
        subject: subject.try_into().unwrap_or_default(),
        master: row.try_get("master")?,
        bytes: row.try_get("wrapped")?,
    };
    let digest: Option<Vec<u8>> = row.try_get("digest")?;
    // A digest of another length is nothing's digest.
    let value = digest.map(|digest| {
        Ok::<_, sqlx::Error>((digest.try_into().unwrap_or_default(), Kept::from_row(row)?))
    });
    Ok(Key { wrapped, value: value.transpose()? })
}

const KEYS: &str = "
    select k.id, k.org as of_org, k.subject, k.master, k.wrapped,
           p.digest, p.kind, p.org, p.salt, p.value, p.lane, p.index, p.sealed
    from audit_key k
    left join lateral (select * from audit_private p where p.key = k.id and p.value is null limit 1) p on true
    where k.id > $2 and exists (select from audit_key_former f where f.key = k.id and f.master = $1)
    order by k.id limit $3";
