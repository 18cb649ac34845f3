//! The statement that writes a batch. Nothing else writes to the log.
//!
//! *Invariant:* a commit is one statement in one round trip; sqlx returns from it only at `ReadyForQuery`, after the
//! implicit transaction is durable. What a decision of the batch reserved is confirmed in it, and the acts that it tells are
//! marked in it, or none of it is written; nor is an end of another process's ALLOW when a third one closes by now.

use sqlx::{PgConnection, Postgres, Row as _, postgres::PgArguments, query::Query};
use tlog::Hash;

use super::{Commit, Left};
use crate::audit::{batch::Batch, seal::Seal, store::big};

type Bound<'q> = Query<'q, Postgres, PgArguments>;

/// Writes a batch if the lane is still ours, its facts are still in force and its reservations still there.
pub(in crate::audit) async fn commit(
    connection: &mut PgConnection,
    batch: &Batch,
    seal: &Seal,
) -> Result<Commit, sqlx::Error> {
    let keeps = batch.closer.is_some()
        || [batch.reserved.len(), batch.held.len(), batch.told.len()] != [0; 3];
    let lean = batch.texts.is_empty() && batch.tiles.is_empty() && batch.privates.is_empty();
    let query = match (keeps, lean) {
        (true, _) => bind_keeps(bind_more(bind(COMMIT_KEEPS, batch, seal), batch), batch),
        (false, false) => bind_more(bind(COMMIT_FULL, batch, seal), batch),
        (false, true) => bind(COMMIT, batch, seal),
    };
    let row = query.fetch_one(connection).await.map_err(swallowed)?;
    let (version, written): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
    if written {
        return Ok(Commit::Done { version });
    }
    let erasures: i64 = row.try_get(2)?;
    if batch.expected.is_some_and(|expected| expected != version) || batch.tip.erasures != erasures
    {
        return Ok(Commit::Moved { version, erasures });
    }
    if !keeps {
        return Ok(Commit::Fenced);
    }
    let left = Left { reserved: row.try_get(3)?, untold: row.try_get(4)?, closer: row.try_get(5)? };
    let whole = left.reserved.len() == batch.reserved.len()
        && left.untold.len() == batch.told.len()
        && left.closer == batch.closer;
    Ok(if whole { Commit::Fenced } else { Commit::Unkept(left) })
}

/// The statement divides by whether everything was written, for good: somebody's trigger or rule took something away.
fn swallowed(cause: sqlx::Error) -> sqlx::Error {
    let is_so = cause
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "22012");
    if !is_so {
        return cause;
    }
    sqlx::Error::Protocol(
        "it did not write what it was given, or not for good, so nothing of it was kept: look for triggers and rules on the log's tables, and at `synchronous_commit`"
            .to_owned(),
    )
}

fn bind<'q>(statement: &'static str, batch: &'q Batch, seal: &'q Seal) -> Bound<'q> {
    let tip = &batch.tip;
    sqlx::query(statement)
        .bind(i32::from(tip.lane))
        .bind(big(tip.epoch))
        .bind(big(batch.tree.first_index()))
        .bind(big(batch.tree.size()))
        .bind(tip.frontier.to_bytes())
        .bind(batch.tree.root().0.to_vec())
        .bind(tip.last_ns)
        .bind(batch.expected)
        .bind(i32::try_from(batch.records()).unwrap_or(i32::MAX))
        .bind(batch.leaves.as_slice())
        .bind(batch.marks.as_slice())
        .bind(tip.erasures)
        .bind(seal.as_slice())
}

fn bind_more<'q>(query: Bound<'q>, batch: &'q Batch) -> Bound<'q> {
    let (texts, tiles, privates) = (&batch.texts, &batch.tiles, &batch.privates);
    let keys = || privates.iter().filter_map(|private| private.made.as_ref());
    query
        .bind(texts.iter().map(|(_, text)| text.digest.to_vec()).collect::<Vec<_>>())
        .bind(texts.iter().map(|(kind, _)| (*kind).to_owned()).collect::<Vec<_>>())
        .bind(texts.iter().map(|(_, text)| text.bytes.to_vec()).collect::<Vec<_>>())
        .bind(tiles.iter().map(|(id, _)| i16::from(id.level)).collect::<Vec<_>>())
        .bind(tiles.iter().map(|(id, _)| big(id.index)).collect::<Vec<_>>())
        .bind(tiles.iter().map(|(_, hashes)| Hash::concat(hashes)).collect::<Vec<_>>())
        .bind(keys().map(|key| key.id).collect::<Vec<_>>())
        .bind(keys().map(|key| key.org.clone()).collect::<Vec<_>>())
        .bind(keys().map(|key| key.subject.to_vec()).collect::<Vec<_>>())
        .bind(keys().map(|key| key.master.clone()).collect::<Vec<_>>())
        .bind(keys().map(|key| key.bytes.clone()).collect::<Vec<_>>())
        .bind(privates.iter().map(|private| private.digest.to_vec()).collect::<Vec<_>>())
        .bind(privates.iter().map(|private| private.field.to_owned()).collect::<Vec<_>>())
        .bind(privates.iter().map(|private| private.org.to_string()).collect::<Vec<_>>())
        .bind(privates.iter().map(|private| big(private.index)).collect::<Vec<_>>())
        .bind(privates.iter().map(|private| private.key).collect::<Vec<_>>())
        .bind(privates.iter().map(|private| private.sealed.clone()).collect::<Vec<_>>())
}

fn bind_keeps<'q>(query: Bound<'q>, batch: &'q Batch) -> Bound<'q> {
    let held = &batch.held;
    query
        .bind(batch.reserved.as_slice())
        .bind(held.iter().map(|row| row.id).collect::<Vec<_>>())
        .bind(held.iter().map(|row| row.org.to_string()).collect::<Vec<_>>())
        .bind(held.iter().map(|row| row.service.to_string()).collect::<Vec<_>>())
        .bind(held.iter().map(|row| row.operation.to_owned()).collect::<Vec<_>>())
        .bind(held.iter().map(|row| row.at_s).collect::<Vec<_>>())
        .bind(held.iter().map(|row| row.salt.to_vec()).collect::<Vec<_>>())
        .bind(held.iter().map(|row| row.asked.to_vec()).collect::<Vec<_>>())
        .bind(held.iter().map(|row| row.held.request.to_vec()).collect::<Vec<_>>())
        .bind(held.iter().map(|row| row.held.rules.join(" ")).collect::<Vec<_>>())
        .bind(held.iter().map(|row| i16::from(row.held.persons)).collect::<Vec<_>>())
        .bind(held.iter().map(|row| row.held.facts.clone()).collect::<Vec<_>>())
        .bind(held.iter().map(|row| row.held.bundle.to_string()).collect::<Vec<_>>())
        .bind(held.iter().map(|row| row.detail.to_vec()).collect::<Vec<_>>())
        .bind(batch.told.as_slice())
        .bind(batch.closer)
}

/// The share lock on the facts comes first: a change of facts, or an erasure, waits for us, or we see it. `$taken` locks reservations
/// and acts, `$guard` asks for all of them, `$more` is written besides, `$whole` is whether all of that was, `$left` is told.
///
/// Where the head moved and something else did not follow, it divides by zero: then nothing of it is kept.
macro_rules! commit_sql {
    ($taken:literal, $guard:literal, $more:expr, $whole:expr, $left:literal) => {
        concat!(
            "with fact as materialized (
                select version, erasures from fact_head where id = 1 for share
            )",
            $taken,
            ", head as (
                update log_head set size = $4, frontier = $5, root = $6, last_ns = $7, seal = $13
                from fact
                where lane = $1 and epoch = $2 and size = $3 and ($8::bigint is null or fact.version = $8)
                  and fact.erasures = $12",
            $guard,
            " returning lane
            ), batch as (
                insert into log_batch (lane, first_index, count, epoch, leaves, marks)
                select $1, $3, $9, $2, $10, $11 from head
                returning lane
            )",
            $more,
            " select fact.version, head.lane is not null, fact.erasures",
            $left,
            ", 1 / (head.lane is null or (batch.lane is not null and current_setting('synchronous_commit') in ('on', 'remote_apply')",
            $whole,
            "))::int
             from fact left join head on true left join batch on true"
        )
    };
}

macro_rules! full_sql {
    () => {
        ", texts as (
            insert into log_text (digest, kind, bytes)
            select t.digest, t.kind, t.bytes
            from head, unnest($14::bytea[], $15::text[], $16::bytea[]) as t (digest, kind, bytes)
            on conflict do nothing
        ), tiles as (
            insert into log_tile (lane, level, n, hashes)
            select $1, t.level, t.n, t.hashes
            from head, unnest($17::smallint[], $18::bigint[], $19::bytea[]) as t (level, n, hashes)
            returning true
        ), keys as (
            insert into audit_key (id, org, subject, master, wrapped)
            select k.id, k.org, k.subject, k.master, k.wrapped
            from head, unnest($20::uuid[], $21::text[], $22::bytea[], $23::text[], $24::bytea[])
                as k (id, org, subject, master, wrapped)
            returning true
        ), privates as (
            insert into audit_private (digest, kind, org, lane, index, key, sealed)
            select p.digest, p.kind, p.org, $1, p.index, p.key, p.sealed
            from head, unnest($25::bytea[], $26::text[], $27::text[], $28::bigint[], $29::uuid[], $30::bytea[])
                as p (digest, kind, org, index, key, sealed)
            returning true
        )"
    };
}

/// Texts may be there already.
macro_rules! full_whole_sql {
    () => {
        " and (select count(*) from tiles) = cardinality($17::smallint[])
          and (select count(*) from keys) = cardinality($20::uuid[])
          and (select count(*) from privates) = cardinality($25::bytea[])"
    };
}

macro_rules! keeps_sql {
    () => {
        concat!(
            full_sql!(),
            ", confirmed as (
                update reservation set state = 'confirmed' from head where decision = any ($31::uuid[])
                returning true
            ), holds as (
                insert into hold (id, org, service, operation, at_s, asked_salt, asked, request, rules, persons,
                                  facts, bundle, detail)
                select h.id, h.org, h.service, h.operation, h.at_s, h.asked_salt, h.asked, h.request,
                       string_to_array(h.rules, ' '), h.persons, h.facts, h.bundle, h.detail
                from head, unnest($32::uuid[], $33::text[], $34::text[], $35::text[], $36::bigint[], $37::bytea[],
                                  $38::bytea[], $39::bytea[], $40::text[], $41::smallint[], $42::text[], $43::text[],
                                  $44::bytea[])
                    as h (id, org, service, operation, at_s, asked_salt, asked, request, rules, persons, facts,
                          bundle, detail)
                returning true
            ), told as (
                update log_outbox set written = true, lane = $1, people = '{}'
                from head where event = any ($45::uuid[])
                returning true
            )"
        )
    };
}

macro_rules! keeps_whole_sql {
    () => {
        concat!(
            full_whole_sql!(),
            " and (select count(*) from confirmed) = cardinality($31::uuid[])
              and (select count(*) from holds) = cardinality($32::uuid[])
              and (select count(*) from told) = cardinality($45::uuid[])"
        )
    };
}

const COMMIT: &str = commit_sql!("", "", "", "", "");
const COMMIT_FULL: &str = commit_sql!("", "", full_sql!(), full_whole_sql!(), "");
/// Whoever sweeps or releases a reservation at the same time waits for us or makes us fail: its row is locked first.
const COMMIT_KEEPS: &str = commit_sql!(
    ", taken as materialized (
        select decision from reservation where decision = any ($31::uuid[]) and state = 'reserved' for update
    ), untold as materialized (
        select event from log_outbox where event = any ($45::uuid[]) and not written for update
    ), closer as materialized (
        select term from log_closer where id = 1 for share
    )",
    " and (select count(*) from taken) = cardinality($31::uuid[])
      and (select count(*) from untold) = cardinality($45::uuid[])
      and ($46::bigint is null or exists (select from closer where term = $46))",
    keeps_sql!(),
    keeps_whole_sql!(),
    ", (select coalesce(array_agg(decision), '{}') from taken),
     (select coalesce(array_agg(event), '{}') from untold),
     case when $46::bigint is not null then (select term from closer) end"
);
