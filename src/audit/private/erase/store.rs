//! An erasure in Postgres: asked for, done once, and what of it lies in files.

use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use super::Subject;
use crate::privacy::Wrapped;

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

type Row = (Uuid, String, Vec<u8>, String, Vec<u8>);

/// Keys that are still as a lane made them, in the order of their ids, after `last`; of one organisation, or of all.
pub(super) async fn as_made(
    connection: &mut PgConnection,
    org: Option<&str>,
    last: Uuid,
    limit: i64,
) -> Result<Vec<Wrapped>, sqlx::Error> {
    let select = "select id, org, subject, master, wrapped from audit_key k
                  where id > $2 and ($1::text is null or org = $1)
                      and not exists (select from audit_key_former f where f.key = k.id)
                  order by id limit $3";
    let rows: Vec<Row> =
        sqlx::query_as(select).bind(org).bind(last).bind(limit).fetch_all(connection).await?;
    let wrapped = |(id, org, subject, master, bytes): Row| {
        let subject = subject.try_into().unwrap_or_default();
        Wrapped { id, org, subject, master, bytes }
    };
    Ok(rows.into_iter().map(wrapped).collect())
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

/// What keeps rows of before a transaction alive, in words.
pub(super) async fn seers(
    connection: &mut PgConnection,
    since: &str,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(SEERS).bind(since).fetch_all(connection).await
}

/// Whether a table may have dead rows of before a transaction still: a full vacuum drops and freezes all that is older than what
/// anybody may see, and Postgres notes with the table how far that was.
pub(super) async fn has_before(
    connection: &mut PgConnection,
    table: &str,
    since: &str,
) -> Result<bool, sqlx::Error> {
    let select = "select age(relfrozenxid) > age($2::text::xid) from pg_class where oid = $1::text::regclass";
    sqlx::query_scalar(select).bind(table).bind(since).fetch_one(connection).await
}

/// Files in this database's directories that have something and are no table's.
pub(super) async fn strays(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(STRAYS).fetch_all(connection).await
}

/// Statements that cannot run in a transaction, or ask for nothing.
pub(super) async fn run(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

/// By which settings the server writes what a statement of this session is about into its own log. `log_duration` writes durations
/// alone.
pub(super) async fn logs(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(LOGS).fetch_one(connection).await
}

/// As Postgres computes what it may remove: by each session's snapshot, and by its own transaction, which in READ COMMITTED is all that
/// it has between two statements. Transactions of other databases count: the rewriting's own snapshot begins with the oldest of all;
/// their snapshots do not, nor what a slot keeps of catalogs alone.
const SEERS: &str = "
    select 'the session ' || pid || coalesce(' of the login ' || usename, '') from pg_stat_activity
    where pid <> pg_backend_pid()
        and (age(backend_xid) > age($1::text::xid)
             or age(backend_xmin) > age($1::text::xid) and (datname is null or datname = current_database()))
    union all
    select 'the prepared transaction ' || gid from pg_prepared_xacts where age(transaction) > age($1::text::xid)
    union all
    select 'the replication slot ' || slot_name from pg_replication_slots where age(xmin) > age($1::text::xid)
    union all
    select 'the setting ' || name || ' = ' || setting from pg_settings
    where name = 'vacuum_defer_cleanup_age' and setting <> '0'";

/// What is unlinked stays as an empty file until the next checkpoint. `_fsm` and `_vm` have no rows; `t3_1` and the like is of a temporary
/// table.
const STRAYS: &str = "
    select place || file
    from (select distinct regexp_replace(pg_relation_filepath(oid), '[^/]*$', '') as place
          from pg_class where relfilenode <> 0 and not relisshared) places,
         pg_ls_dir(place) file
    where file ~ '^[0-9]+([.][0-9]+)?$'
        and (pg_stat_file(place || file, true)).size > 0
        and not exists (select from pg_class where pg_relation_filenode(oid) = substring(file from '^[0-9]+')::oid)
    order by 1";

/// Whoever waits for a table to rewrite it has everybody wait who comes after, lanes too: not for ever, where somebody holds it.
pub(super) const IMPATIENT: &str = "set lock_timeout = '5s'";

/// What is bound to a statement is not logged with it: with one that fails, which any login may say, and with any.
pub(super) const QUIET_ON_ERROR: &str = "set log_parameter_max_length_on_error = 0";
pub(super) const QUIET: &str = "set log_parameter_max_length = 0";

const LOGS: &str = "
    select string_agg(name || ' = ' || setting, ', ' order by name) from pg_settings
    where case name
            when 'log_statement' then setting = 'all'
            when 'log_min_duration_statement' then setting <> '-1'
            when 'log_min_duration_sample' then setting <> '-1' and current_setting('log_statement_sample_rate') <> '0'
            when 'log_transaction_sample_rate' then setting <> '0'
            when 'auto_explain.log_min_duration' then setting <> '-1'
            when 'pgaudit.log_parameter' then setting = 'on'
            else false
          end
        and (name like '%.%' or current_setting('log_parameter_max_length') <> '0')";
