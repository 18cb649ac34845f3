//! Checkpoints out, heads and settings in.

use sqlx::{PgPool, Row as _};

use crate::audit::{
    AuditError,
    health::Signed,
    leaf::Head,
    recorder::Shared,
    store::{big, hash, small},
};

pub(super) async fn publish(shared: &Shared, signed: &Signed) -> Result<(), sqlx::Error> {
    let insert = "insert into log_checkpoint (lane, size, note, vkey) values ($1, $2, $3, $4)
                  on conflict do nothing";
    let query = sqlx::query(insert).bind(i32::from(signed.lane)).bind(big(signed.size));
    query.bind(&signed.note).bind(&signed.vkey).execute(&shared.pool).await.map(drop)
}

pub(super) async fn heads(pool: &PgPool) -> Result<Vec<Head>, AuditError> {
    let select = "select lane, epoch, size, root from log_head order by lane";
    let rows = sqlx::query(select).fetch_all(pool).await?;
    let head = |row| {
        let lane: i32 = sqlx::Row::try_get(&row, "lane")?;
        Ok(Head {
            lane: u16::try_from(lane).unwrap_or(u16::MAX),
            epoch: small(sqlx::Row::try_get(&row, "epoch")?),
            size: small(sqlx::Row::try_get(&row, "size")?),
            root: hash(&row, "root")?.0,
        })
    };
    rows.into_iter().map(head).collect()
}

/// What speaks against keeping a log in this database; empty when nothing does.
pub(super) async fn settings(pool: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    let row = sqlx::query(
        "select current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
                not pg_is_in_recovery(), not current_setting('default_transaction_read_only')::boolean",
    )
    .fetch_one(pool)
    .await?;
    let wanted = [
        "the database runs with `fsync = off`: what it confirms can be lost; set it to on",
        "the database runs with `full_page_writes = off`: a torn page can destroy records; set it to on",
        "the database is a standby: connect to the primary",
        "the database is read-only: set `default_transaction_read_only` to off",
    ];
    let mut causes = Vec::new();
    for (column, cause) in wanted.into_iter().enumerate() {
        if !row.try_get::<bool, _>(column)? {
            causes.push(cause.to_owned());
        }
    }
    Ok(causes)
}
