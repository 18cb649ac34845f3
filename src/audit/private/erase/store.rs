//! An erasure in Postgres: asked for, done once, and what of it lies in files.

use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use super::Subject;

/// An erasure that is asked for.
pub(super) struct Wanted<'a> {
    pub of: Subject<'a>,
    pub subject: [u8; 32],
    /// By what the keys of the person are found.
    pub indexes: &'a [Vec<u8>],
    /// Names of the master keys that they were looked for under, the one that wraps now first.
    pub masters: &'a [&'a str],
    pub reason: &'a str,
    pub by: &'a str,
}

/// An erasure that is confirmed.
pub(super) struct Agreed<'a> {
    pub id: Uuid,
    pub of: Subject<'a>,
    /// For which organisations the keys were looked for.
    pub orgs: &'a [String],
    pub indexes: &'a [Vec<u8>],
    pub masters: &'a [&'a str],
    pub by: &'a str,
}

/// What was destroyed, or when that was done before.
#[derive(FromRow)]
pub(super) struct Done {
    pub already_at_s: Option<i64>,
    pub keys: Option<i64>,
    pub vals: Option<i64>,
    pub holds: Option<i64>,
    pub holds_left: Option<i64>,
}

pub(super) async fn ask(
    connection: &mut PgConnection,
    wanted: &Wanted<'_>,
) -> Result<Uuid, sqlx::Error> {
    sqlx::query_scalar("select erasure_ask($1, $2, $3, $4, $5, $6, $7)")
        .bind(wanted.of.org)
        .bind(wanted.of.name)
        .bind(wanted.subject.as_slice())
        .bind(wanted.indexes)
        .bind(wanted.masters)
        .bind(wanted.reason)
        .bind(wanted.by)
        .fetch_one(connection)
        .await
}

/// Erases, if the database allows it: else nothing was done, and [`code`] says why.
pub(super) async fn confirm(
    connection: &mut PgConnection,
    agreed: &Agreed<'_>,
) -> Result<Done, sqlx::Error> {
    sqlx::query_as("select * from erasure_confirm($1, $2, $3, $4, $5, $6, $7)")
        .bind(agreed.id)
        .bind(agreed.of.org)
        .bind(agreed.of.name)
        .bind(agreed.orgs)
        .bind(agreed.indexes)
        .bind(agreed.masters)
        .bind(agreed.by)
        .fetch_one(connection)
        .await
}

/// Why the database refused: the code (migration 0049), and its detail.
pub(super) fn code(cause: &sqlx::Error) -> Option<(&str, &str)> {
    let refused: &PgDatabaseError = cause.as_database_error()?.try_downcast_ref()?;
    Some((refused.code(), refused.detail().unwrap_or_default()))
}

pub(super) async fn organisations(
    connection: &mut PgConnection,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select distinct org from audit_key").fetch_all(connection).await
}

/// Names of the master keys that keys are wrapped under.
pub(super) async fn masters(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select distinct master from audit_key").fetch_all(connection).await
}

pub(super) async fn is_kept(
    connection: &mut PgConnection,
    indexes: &[Vec<u8>],
    subject: Subject<'_>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from audit_key where subject = any ($1))
             or exists (select from audit_key_former where subject = any ($1))
             or exists (select from audit_private where value = $2 and ($3::text is null or org = $3))
             or exists (select from hold where ($3::text is null or org = $3)
                        and asked = sha256(asked_salt || convert_to($2, 'UTF8')))
             or exists (select from hold_vote v join hold h on h.id = v.hold where ($3::text is null or h.org = $3)
                        and v.person = sha256(h.asked_salt || convert_to($2, 'UTF8')))",
    )
    .bind(indexes)
    .bind(subject.name)
    .bind(subject.org)
    .fetch_one(connection)
    .await
}

/// A transaction that begins now, by its number.
pub(super) async fn now(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("select pg_current_xact_id()::xid::text").fetch_one(connection).await
}

/// Sessions, slots and prepared transactions that keep rows of before a transaction alive (as far as the login sees them).
pub(super) async fn seers(connection: &mut PgConnection, since: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(SEERS).bind(since).fetch_one(connection).await
}

/// Statements that cannot run in a transaction.
pub(super) async fn run(
    connection: &mut PgConnection,
    statement: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

const SEERS: &str = "
    select (select count(*) from pg_stat_activity
            where pid <> pg_backend_pid() and age(backend_xmin) > age($1::text::xid))
         + (select count(*) from pg_replication_slots where age(xmin) > age($1::text::xid))
         + (select count(*) from pg_prepared_xacts where age(transaction) > age($1::text::xid))";
