//! The log as it is, read in one snapshot; for verifying and for exporting.

use std::borrow::Cow;

use futures_util::{StreamExt as _, stream::BoxStream};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Row as _, Transaction, postgres::PgRow};
use tlog::{Frontier, Hash, note::Signature};

use crate::audit::{
    AuditError,
    batch::MARK_BYTES,
    row::{DecisionRow, EndedRow, FlowRow, Place, Row, StartedRow},
    store::{big, hash, small},
};

pub(in crate::audit) struct HeadState {
    pub lane: u16,
    pub origin: String,
    pub size: u64,
    pub root: Hash,
    pub frontier: Option<Frontier>,
    /// How far the rows go.
    pub projected: u64,
    /// It is never signed again: the next generation of its slot goes on.
    pub dead: bool,
}

pub(in crate::audit) struct StoredBatch {
    pub first: u64,
    pub count: u64,
    pub epoch: u64,
    /// How many records it holds, whatever it states.
    pub whole: u64,
    /// After them there are bytes that are none.
    pub cut: bool,
    /// Leaves and marks stay where they were received: a page is some 8 MB.
    row: PgRow,
}

impl StoredBatch {
    fn read(row: PgRow) -> Result<Self, sqlx::Error> {
        // Asked here, so that an answer of another shape is an error of the query.
        let (leaves, _): (&[u8], &[u8]) = (row.try_get(3)?, row.try_get(4)?);
        let (mut whole, mut cut) = (0, false);
        for leaf in tlog::bundle::leaves(leaves) {
            whole += u64::from(leaf.is_ok());
            cut |= leaf.is_err();
        }
        Ok(Self {
            whole,
            cut,
            first: small(row.try_get(0)?),
            count: small(i64::from(row.try_get::<i32, _>(1)?)),
            epoch: small(row.try_get(2)?),
            row,
        })
    }

    /// The index after its records, if it begins where another batch ended or later; `None` when it begins within that one. One that
    /// states more than it holds takes no place from those after it.
    pub fn until(&self, end: u64) -> Option<u64> {
        (self.first >= end).then(|| self.first + self.whole.min(self.count))
    }

    /// C2SP entry bundle.
    pub fn leaves(&self) -> &[u8] {
        self.row.try_get(3).unwrap_or_default()
    }

    pub fn marks(&self) -> &[u8] {
        self.row.try_get(4).unwrap_or_default()
    }

    /// Each leaf with its mark, which is empty where it has none.
    pub fn marked(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let marks = self.marks().chunks(MARK_BYTES).chain(std::iter::repeat(&[][..]));
        tlog::bundle::leaves(self.leaves()).flatten().zip(marks)
    }
}

pub(in crate::audit) struct StoredCheckpoint {
    pub size: u64,
    pub note: String,
    pub vkey: String,
}

/// One consistent view, whatever is written meanwhile. It locks nothing, and may be held for as long as a reader of the whole log
/// needs: Postgres does not end it for its silence, as it ends a transaction that writes.
pub(in crate::audit) async fn snapshot(
    pool: &PgPool,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    pool.begin_with(SNAPSHOT).await
}

/// A name by which other connections get the same view, as long as this one has it.
pub(in crate::audit) async fn snapshot_name(
    connection: &mut PgConnection,
) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("select pg_export_snapshot()").fetch_one(connection).await
}

/// The view of that name on a connection of its own.
pub(in crate::audit) async fn same_snapshot(
    pool: &PgPool,
    name: &str,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut transaction = snapshot(pool).await?;
    // Postgres made the name: hexadecimal digits and hyphens.
    let set = AssertSqlSafe(format!("set transaction snapshot '{name}'"));
    sqlx::query(set).execute(&mut *transaction).await?;
    Ok(transaction)
}

pub(in crate::audit) async fn heads(
    connection: &mut PgConnection,
) -> Result<Vec<HeadState>, AuditError> {
    let select = "select lane, origin, size, root, frontier, coalesce(next_index, 0) as projected,
                         dead_at is not null as dead
                  from log_head left join projection_cursor using (lane) order by lane";
    let rows = sqlx::query(select).fetch_all(connection).await?;
    let head = |row: PgRow| {
        let lane: i32 = row.try_get("lane")?;
        Ok(HeadState {
            lane: u16::try_from(lane).unwrap_or(u16::MAX),
            origin: row.try_get("origin")?,
            size: small(row.try_get("size")?),
            root: hash(&row, "root")?,
            frontier: Frontier::from_bytes(row.try_get("frontier")?).ok(),
            projected: small(row.try_get("projected")?),
            dead: row.try_get("dead")?,
        })
    };
    rows.into_iter().map(head).collect()
}

/// Batches from the one that begins at or after `from`, in order.
pub(in crate::audit) async fn batches(
    connection: &mut PgConnection,
    lane: u16,
    from: u64,
    limit: i64,
) -> Result<Vec<StoredBatch>, sqlx::Error> {
    let select = "select first_index, count, epoch, leaves, marks from log_batch
                  where lane = $1 and first_index >= $2 order by first_index limit $3";
    let query = sqlx::query(select).bind(i32::from(lane)).bind(big(from)).bind(limit);
    query.fetch_all(connection).await?.into_iter().map(StoredBatch::read).collect()
}

/// How many batches of the lane are kept, from its first record on.
pub(in crate::audit) async fn batches_kept(
    connection: &mut PgConnection,
    lane: u16,
) -> Result<u64, sqlx::Error> {
    let select = "select count(*) from log_batch where lane = $1 and first_index >= 0";
    sqlx::query_scalar(select).bind(i32::from(lane)).fetch_one(connection).await.map(small)
}

/// The first index at which several begin.
pub(in crate::audit) async fn batches_at_one(
    connection: &mut PgConnection,
    lane: u16,
) -> Result<Option<u64>, sqlx::Error> {
    let select = "select first_index from log_batch where lane = $1
                  group by first_index having count(*) > 1 order by first_index limit 1";
    let query = sqlx::query_scalar(select).bind(i32::from(lane));
    Ok(query.fetch_optional(connection).await?.map(small))
}

/// First index of the batch that holds a leaf.
pub(in crate::audit) async fn batch_of(
    connection: &mut PgConnection,
    lane: u16,
    index: u64,
) -> Result<u64, sqlx::Error> {
    let select =
        "select coalesce(max(first_index), 0) from log_batch where lane = $1 and first_index <= $2";
    let query = sqlx::query_scalar(select).bind(i32::from(lane)).bind(big(index));
    query.fetch_one(connection).await.map(small)
}

pub(in crate::audit) async fn checkpoints(
    connection: &mut PgConnection,
    lane: u16,
) -> Result<Vec<StoredCheckpoint>, sqlx::Error> {
    let select = "select size, note, vkey from log_checkpoint where lane = $1 order by size";
    let rows = sqlx::query(select).bind(i32::from(lane)).fetch_all(connection).await?;
    let checkpoint = |row: PgRow| {
        Ok(StoredCheckpoint {
            size: small(row.try_get(0)?),
            note: row.try_get(1)?,
            vkey: row.try_get(2)?,
        })
    };
    rows.into_iter().map(checkpoint).collect()
}

/// Where a decision stands: lane and index.
pub(in crate::audit) async fn place_of(
    connection: &mut PgConnection,
    id: uuid::Uuid,
) -> Result<Option<(u16, u64)>, sqlx::Error> {
    let select = "select lane, index from row_decision where id = $1";
    let row: Option<(i32, i64)> =
        sqlx::query_as(select).bind(id).fetch_optional(connection).await?;
    Ok(row.map(|(lane, index)| (u16::try_from(lane).unwrap_or(u16::MAX), small(index))))
}

/// Where a decision, its start and its end stand, in this order; each with its kind.
pub(in crate::audit) async fn places_of(
    connection: &mut PgConnection,
    id: uuid::Uuid,
) -> Result<Vec<(&'static str, (u16, u64))>, sqlx::Error> {
    let select = "select 1 as n, lane, index from row_decision where id = $1
                  union all select 2, lane, index from row_started where decision = $1
                  union all select 3, lane, index from row_ended where decision = $1 order by n, lane, index";
    let rows: Vec<(i32, i32, i64)> = sqlx::query_as(select).bind(id).fetch_all(connection).await?;
    let place = |(n, lane, index)| {
        let kind = match n {
            1 => "decision",
            2 => "started",
            _ => "ended",
        };
        (kind, (u16::try_from(lane).unwrap_or(u16::MAX), small(index)))
    };
    Ok(rows.into_iter().map(place).collect())
}

/// Which of the last checkpoints is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) enum Wanted {
    /// The newest that a witness has cosigned, else the newest: as evidence.
    Cosigned,
    /// To show how far the log is: of at least this size, and a cosigned one only in the first seconds of the newest, because a
    /// witness is a second behind. For longer, a quiet lane whose witness is away would seem not to have grown.
    Shown(u64),
}

/// One of the last checkpoints, with what witnesses said of it.
pub(in crate::audit) async fn newest_checkpoint(
    connection: &mut PgConnection,
    lane: u16,
    wanted: Wanted,
) -> Result<Option<StoredCheckpoint>, sqlx::Error> {
    let select = "
        select size, note, (select array_agg(line order by witness)
                            from log_cosignature c where c.lane = $1 and c.size = newest.size), vkey
        from (select size, note, vkey, at from log_checkpoint
              where lane = $1 and size >= coalesce($3, 0) order by size desc limit $2) newest
        order by ($3 is null or max(at) over () > now() - interval '10 seconds')
                 and exists (select from log_cosignature c where c.lane = $1 and c.size = newest.size) desc,
                 size desc
        limit 1";
    let shown = match wanted {
        Wanted::Cosigned => None,
        Wanted::Shown(size_min) => Some(big(size_min)),
    };
    let row: Option<(i64, String, Option<Vec<String>>, String)> = sqlx::query_as(select)
        .bind(i32::from(lane))
        .bind(COSIGNED_WITHIN)
        .bind(shown)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|(size, note, lines, vkey)| StoredCheckpoint {
        size: small(size),
        note: cosigned(note, &lines.unwrap_or_default()),
        vkey,
    }))
}

/// A note with further signature lines. One that is none is left out: with it nobody could read the note.
pub(in crate::audit) fn cosigned(mut note: String, lines: &[String]) -> String {
    for line in lines.iter().filter(|line| line.parse::<Signature>().is_ok()) {
        note.push_str(line);
        note.push('\n');
    }
    note
}

/// A checkpoint and what is kept of witnesses for its size.
pub(in crate::audit) struct Cosigned {
    pub size: u64,
    /// None when something is kept of witnesses for a size that no checkpoint has.
    pub note: Option<String>,
    /// Witness, time and line of each.
    pub kept: Vec<(String, i64, String)>,
}

/// Every checkpoint of a lane, by size, with what is kept of witnesses.
pub(in crate::audit) fn cosignatures(
    connection: &mut PgConnection,
    lane: u16,
) -> BoxStream<'_, Result<Cosigned, sqlx::Error>> {
    let select = "
        select size, note, witnesses, times, lines
        from (select size, note from log_checkpoint where lane = $1) checkpoint full join (
            select size, array_agg(witness order by witness) as witnesses,
                   array_agg(at_s order by witness) as times, array_agg(line order by witness) as lines
            from log_cosignature where lane = $1 group by size) said using (size)
        order by size";
    let cosigned = |row: PgRow| {
        let witnesses: Option<Vec<String>> = row.try_get(2)?;
        let times: Option<Vec<i64>> = row.try_get(3)?;
        let lines: Option<Vec<String>> = row.try_get(4)?;
        let said = times.unwrap_or_default().into_iter().zip(lines.unwrap_or_default());
        let kept = witnesses.unwrap_or_default().into_iter().zip(said);
        let kept = kept.map(|(witness, (at_s, line))| (witness, at_s, line)).collect();
        Ok(Cosigned { size: small(row.try_get(0)?), note: row.try_get(1)?, kept })
    };
    let rows = sqlx::query(select).bind(i32::from(lane)).fetch(connection);
    rows.map(move |row| row.and_then(cosigned)).boxed()
}

/// Rows of one of the tables of the log that are of no lane or no index: for each such lane how many, and the first index.
pub(in crate::audit) async fn rows_outside(
    connection: &mut PgConnection,
    (table, index): (&'static str, &'static str),
) -> Result<Vec<(i32, i64, i64)>, sqlx::Error> {
    // Names of ours.
    let select = AssertSqlSafe(OUTSIDE.replace("{table}", table).replace("{index}", index));
    sqlx::query_as(select).fetch_all(connection).await
}

/// The full tiles `from <= n < to` of a level, with their numbers.
pub(in crate::audit) async fn numbered_tiles(
    connection: &mut PgConnection,
    lane: u16,
    level: i16,
    from: u64,
    to: u64,
) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
    let select = "select n, hashes from log_tile
                  where lane = $1 and level = $2 and n >= $3 and n < $4 order by n";
    let query = sqlx::query(select).bind(i32::from(lane)).bind(level).bind(big(from)).bind(big(to));
    let tile = |row: PgRow| Ok((small(row.try_get(0)?), row.try_get(1)?));
    query.fetch_all(connection).await?.into_iter().map(tile).collect()
}

/// Full tiles above the lowest level: a 256th of the log's hashes.
pub(in crate::audit) async fn tiles_above(
    connection: &mut PgConnection,
    lane: u16,
) -> Result<Vec<((u8, u64), Vec<u8>)>, sqlx::Error> {
    tiles(connection, lane, 1).await
}

/// The hashes of the full tiles `from <= n < to` of a level.
pub(in crate::audit) async fn tiles_between(
    connection: &mut PgConnection,
    lane: u16,
    level: u32,
    from: u64,
    to: u64,
) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    let select = "select hashes from log_tile
                  where lane = $1 and level = $2 and n >= $3 and n < $4 order by n";
    sqlx::query_scalar(select)
        .bind(i32::from(lane))
        .bind(i16::try_from(level).unwrap_or(i16::MAX))
        .bind(big(from))
        .bind(big(to))
        .fetch_all(connection)
        .await
}

/// Full tiles from a level on, as they were kept: level, index, hashes.
pub(in crate::audit) async fn tiles(
    connection: &mut PgConnection,
    lane: u16,
    level_min: i16,
) -> Result<Vec<((u8, u64), Vec<u8>)>, sqlx::Error> {
    let select =
        "select level, n, hashes from log_tile where lane = $1 and level >= $2 order by level, n";
    let query = sqlx::query(select).bind(i32::from(lane)).bind(level_min);
    let rows = query.fetch_all(connection).await?;
    let tile = |row: PgRow| {
        let level: i16 = row.try_get(0)?;
        Ok(((u8::try_from(level).unwrap_or(u8::MAX), small(row.try_get(1)?)), row.try_get(2)?))
    };
    rows.into_iter().map(tile).collect()
}

/// Kind and bytes of a text.
pub(in crate::audit) async fn text(
    connection: &mut PgConnection,
    digest: &[u8],
) -> Result<Option<(String, Vec<u8>)>, sqlx::Error> {
    let select = sqlx::query_as("select kind, bytes from log_text where digest = $1").bind(digest);
    select.fetch_optional(connection).await
}

/// The next digests of texts after this one, in order, each with how often it is kept.
pub(in crate::audit) async fn digests_after(
    connection: &mut PgConnection,
    digest: &[u8],
) -> Result<Vec<(Vec<u8>, i64)>, sqlx::Error> {
    let select = "select digest, count(*) from log_text where digest > $1
                  group by digest order by digest limit $2";
    sqlx::query_as(select).bind(digest).bind(DIGESTS).fetch_all(connection).await
}

/// Every `detail` that flows are kept of, with how many.
pub(in crate::audit) fn details_with_flows(
    connection: &mut PgConnection,
) -> BoxStream<'_, Result<(Vec<u8>, i64), sqlx::Error>> {
    sqlx::query_as("select detail, count(*) from row_flow group by detail").fetch(connection)
}

pub(in crate::audit) async fn flows(
    connection: &mut PgConnection,
    detail: &[u8],
) -> Result<Vec<FlowRow>, sqlx::Error> {
    let select = "select component, regime, flow, from_place, to_place, entity, outcome
                  from row_flow where detail = $1 order by n";
    let rows = sqlx::query(select).bind(detail).fetch_all(connection).await?;
    let flow = |row: PgRow| {
        Ok(FlowRow {
            component: row.try_get(0)?,
            regime: row.try_get(1)?,
            flow: row.try_get(2)?,
            from: row.try_get(3)?,
            to: row.try_get(4)?,
            entity: row.try_get(5)?,
            outcome: row.try_get(6)?,
        })
    };
    rows.into_iter().map(flow).collect()
}

/// All rows of a lane with `from` <= index < `to`, by index.
pub(in crate::audit) async fn rows(
    connection: &mut PgConnection,
    lane: u16,
    (from, to): (u64, u64),
) -> Result<Vec<Row<'static>>, sqlx::Error> {
    let mut all = Vec::new();
    for select in [DECISIONS, STARTED, ENDED] {
        let query = sqlx::query(select).bind(i32::from(lane)).bind(big(from)).bind(big(to));
        for row in query.fetch_all(&mut *connection).await? {
            all.push(match select {
                DECISIONS => decision(&row)?,
                STARTED => started(&row)?,
                _ => ended(&row)?,
            });
        }
    }
    all.sort_by_key(|row| row.place().index);
    Ok(all)
}

fn place(row: &PgRow) -> Result<Place, sqlx::Error> {
    Ok(Place {
        lane: row.try_get("lane")?,
        index: row.try_get("index")?,
        id: row.try_get("id")?,
        at_ns: row.try_get("at_ns")?,
    })
}

fn word(row: &PgRow, column: &str) -> Result<Cow<'static, str>, sqlx::Error> {
    row.try_get(column).map(Cow::Owned)
}

fn word_if(row: &PgRow, column: &str) -> Result<Option<Cow<'static, str>>, sqlx::Error> {
    Ok(row.try_get::<Option<String>, _>(column)?.map(Cow::Owned))
}

fn decision(row: &PgRow) -> Result<Row<'static>, sqlx::Error> {
    Ok(Row::Decision(DecisionRow {
        place: place(row)?,
        org: word(row, "org")?,
        actor: row.try_get("actor")?,
        outcome: word(row, "outcome")?,
        reason: word(row, "reason")?,
        rule: word_if(row, "rule")?,
        site: word_if(row, "site")?,
        service: word(row, "service")?,
        operation: word(row, "operation")?,
        issuer: word_if(row, "issuer")?,
        facts: row.try_get("facts")?,
        detail: row.try_get("detail")?,
        bundle: row.try_get("bundle")?,
    }))
}

fn started(row: &PgRow) -> Result<Row<'static>, sqlx::Error> {
    let (place, decision, identity) =
        (place(row)?, row.try_get("decision")?, word(row, "identity")?);
    Ok(Row::Started(StartedRow { place, decision, identity }))
}

fn ended(row: &PgRow) -> Result<Row<'static>, sqlx::Error> {
    Ok(Row::Ended(EndedRow {
        place: place(row)?,
        decision: row.try_get("decision")?,
        how: word(row, "how")?,
        status: row.try_get("status")?,
        bytes_out: row.try_get("bytes_out")?,
        bytes_back: row.try_get("bytes_back")?,
        duration_ms: row.try_get("duration_ms")?,
        why: word_if(row, "why")?,
    }))
}

const DECISIONS: &str = "select * from row_decision where lane = $1 and index >= $2 and index < $3";
const STARTED: &str = "select * from row_started where lane = $1 and index >= $2 and index < $3";
const ENDED: &str = "select * from row_ended where lane = $1 and index >= $2 and index < $3";

/// Between the lanes that have a head, and in them below 0 and at the last index of all, which no range holds.
const OUTSIDE: &str = "
    with gap as (
        select lag(lane) over (order by lane)::bigint as after, lane::bigint as until from log_head
        union all select max(lane)::bigint, null from log_head
    )
    select lane, count(*), min(index) from (
        select r.lane, r.{index} as index from gap join {table} r
            on r.lane > coalesce(after, -2147483649) and r.lane < coalesce(until, 2147483648)
        union all
        select r.lane, r.{index} from log_head h join {table} r on r.lane = h.lane and r.{index} < 0
        union all
        select r.lane, r.{index} from log_head h join {table} r on r.lane = h.lane and r.{index} = 9223372036854775807
    ) outside
    group by lane order by lane limit 64";

const SNAPSHOT: &str = "begin transaction isolation level repeatable read, read only; \
                        set local idle_in_transaction_session_timeout = 0";
/// Some 400 kB.
const DIGESTS: i64 = 10_000;
/// Checkpoints, one a second at most.
const COSIGNED_WITHIN: i64 = 10;
