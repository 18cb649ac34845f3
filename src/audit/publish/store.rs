//! Checkpoints out, heads and settings in.

use sqlx::{PgPool, Row as _};

use crate::audit::{
    AuditError, Durability,
    health::{Look, Signed},
    leaf::Head,
    recorder::Shared,
    store::{big, hash, small},
};

/// Gives the note that is kept of this size afterwards, and its key: a trigger can swallow what is inserted, or change it.
pub(super) async fn publish(
    shared: &Shared,
    signed: &Signed,
) -> Result<Option<(String, String)>, sqlx::Error> {
    let insert = "insert into log_checkpoint (lane, size, note, vkey) values ($1, $2, $3, $4)
                  on conflict do nothing";
    let query = sqlx::query(insert).bind(i32::from(signed.lane)).bind(big(signed.size));
    query.bind(&signed.note).bind(&signed.vkey).execute(&shared.pool).await?;
    // Of its own, after the commit: what is done at its end is then done.
    let kept = "select note, vkey from log_checkpoint where lane = $1 and size = $2";
    let query = sqlx::query_as(kept).bind(i32::from(signed.lane)).bind(big(signed.size));
    query.fetch_optional(&shared.pool).await
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

/// How the database is set: what speaks against keeping a log in it, and what a commit of a lane waits for.
pub(super) async fn settings(pool: &PgPool, wanted: Durability) -> Result<Look, sqlx::Error> {
    let row = sqlx::query(
        "select current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
                not pg_is_in_recovery(), not current_setting('default_transaction_read_only')::boolean,
                current_setting('synchronous_standby_names')",
    )
    .fetch_one(pool)
    .await?;
    let mut causes = Vec::new();
    for (column, cause) in NEEDED.into_iter().enumerate() {
        if !row.try_get::<bool, _>(column)? {
            causes.push(cause.to_owned());
        }
    }
    let names: String = row.try_get(NEEDED.len())?;
    // Lanes set `synchronous_commit = on` for themselves, so the names decide.
    let durability = match names.trim() {
        "" => "a commit is on the disk of one server".to_owned(),
        names => format!("a commit is on the disks of the primary and of `{names}`"),
    };
    if wanted == Durability::Quorum && names.trim().is_empty() {
        causes.push(NO_QUORUM.to_owned());
    }
    Ok(Look { causes, durability })
}

const NEEDED: [&str; 4] = [
    "the database runs with `fsync = off`: what it confirms can be lost; set it to on",
    "the database runs with `full_page_writes = off`: a torn page can destroy records; set it to on",
    "the database is a standby: connect to the primary",
    "the database is read-only: set `default_transaction_read_only` to off",
];
const NO_QUORUM: &str = "`audit.durability` asks for a quorum and `synchronous_standby_names` is empty: what is confirmed is lost with its \
     server; set it, e.g. to `ANY 1 (standby1, standby2)`";
