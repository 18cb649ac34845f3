//! An erasure in Postgres: asked for, done once, and what of it lies in files.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use super::{Erased, Subject};

/// An erasure that is asked for.
pub(super) struct Wanted<'a> {
    pub id: Uuid,
    pub org: Option<&'a str>,
    pub subject: [u8; 32],
    pub master: &'a str,
    pub reason: &'a str,
    pub salt: [u8; 16],
    pub asked: Vec<u8>,
    pub at_s: i64,
}

#[derive(FromRow)]
pub(super) struct Open {
    pub org: Option<String>,
    pub subject: Option<Vec<u8>>,
    pub asked_salt: Vec<u8>,
    pub asked: Vec<u8>,
    pub asked_at_s: i64,
    pub done_at_s: Option<i64>,
}

pub(super) async fn ask(
    connection: &mut PgConnection,
    wanted: &Wanted<'_>,
) -> Result<(), sqlx::Error> {
    let insert =
        "insert into erasure (id, org, subject, master, reason, asked_salt, asked, asked_at_s)
                  values ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(insert)
        .bind(wanted.id)
        .bind(wanted.org)
        .bind(wanted.subject.as_slice())
        .bind(wanted.master)
        .bind(wanted.reason)
        .bind(wanted.salt.as_slice())
        .bind(wanted.asked.as_slice())
        .bind(wanted.at_s)
        .execute(connection)
        .await?;
    Ok(())
}

/// Nobody else confirms it until the transaction ends.
pub(super) async fn open(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<Option<Open>, sqlx::Error> {
    let select = "select org, subject, asked_salt, asked, asked_at_s, done_at_s from erasure where id = $1 for update";
    sqlx::query_as(select).bind(id).fetch_optional(connection).await
}

pub(super) async fn close(
    connection: &mut PgConnection,
    id: Uuid,
    now: i64,
) -> Result<(), sqlx::Error> {
    let update = "update erasure set subject = null, done_at_s = $2 where id = $1";
    sqlx::query(update).bind(id).bind(now).execute(connection).await?;
    Ok(())
}

/// Waits for commits under way; later ones see that what they remember of people is from before.
pub(super) async fn raise(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let update = "update fact_head set erasures = erasures + 1 where id = 1";
    sqlx::query(update).execute(connection).await?;
    Ok(())
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

/// Whether an act that is not recorded yet names this person.
pub(super) async fn waits(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    let select = "select exists (select from log_outbox where not written and $1 = any (people))";
    sqlx::query_scalar(select).bind(name).fetch_one(connection).await
}

pub(super) async fn is_kept(
    connection: &mut PgConnection,
    indexes: &[Vec<u8>],
    subject: Subject<'_>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from audit_key where subject = any ($1))
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

/// Deletes keys and values, and makes the digests beside holds that are over those of nobody.
pub(super) async fn destroy(
    connection: &mut PgConnection,
    indexes: &[Vec<u8>],
    subject: Subject<'_>,
    now: i64,
    chance: &[u8; 32],
) -> Result<Erased, sqlx::Error> {
    let (keys, sealed): (i64, i64) =
        sqlx::query_as(DESTROY).bind(indexes).fetch_one(&mut *connection).await?;
    let clear = "delete from audit_private where value = $1 and ($2::text is null or org = $2)";
    let clear = sqlx::query(clear).bind(subject.name).bind(subject.org).execute(&mut *connection);
    let clear = i64::try_from(clear.await?.rows_affected()).unwrap_or(i64::MAX);
    let (holds, holds_left): (i64, i64) = sqlx::query_as(FORGET_HOLDS)
        .bind(subject.name)
        .bind(subject.org)
        .bind(now)
        .bind(chance.as_slice())
        .fetch_one(&mut *connection)
        .await?;
    Ok(Erased { keys, values: sealed.saturating_add(clear), holds, holds_left })
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

const DESTROY: &str = "
    with keys as (
        delete from audit_key where subject = any ($1) returning id
    ), gone as (
        delete from audit_private where key in (select id from keys) returning 1
    )
    select (select count(*) from keys), (select count(*) from gone)";

/// A hold is over when it was refused, or its release can no longer be used.
const FORGET_HOLDS: &str = "
    with own as (
        select id, asked_salt, sha256(asked_salt || convert_to($1, 'UTF8')) as person,
               exists (select from hold_resolution r
                       where r.hold = id and (r.result = 'refused' or r.until_s <= $3)) as is_over
        from hold where $2::text is null or org = $2
    ), asked as (
        update hold h set asked = sha256($4 || convert_to(h.id::text || 'asked', 'UTF8'))
        from own where own.id = h.id and own.is_over and h.asked = own.person returning 1
    ), voted as (
        update hold_vote v set person = sha256($4 || convert_to(v.hold::text || v.n, 'UTF8'))
        from own where own.id = v.hold and own.is_over and v.person = own.person returning 1
    )
    select (select count(*) from asked) + (select count(*) from voted),
           (select count(*) from hold h join own using (id) where not is_over and h.asked = own.person)
           + (select count(*) from hold_vote v join own on own.id = v.hold where not is_over and v.person = own.person)";

const SEERS: &str = "
    select (select count(*) from pg_stat_activity
            where pid <> pg_backend_pid() and age(backend_xmin) > age($1::text::xid))
         + (select count(*) from pg_replication_slots where age(xmin) > age($1::text::xid))
         + (select count(*) from pg_prepared_xacts where age(transaction) > age($1::text::xid))";
