//! The lane's own connection: claim, look up, ping. What it writes, `commit` says.
//!
//! *Invariant:* whoever claims a lane raises its epoch, so that nobody with an older one can write into it.

use std::sync::Arc;

use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};
use tlog::{Frontier, Hash, tile};

use super::{
    AuditError,
    batch::{Batch, Tip},
    opens::Epoch,
};

/// Who this process is to the database.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// Random; its shared advisory lock says that the process lives.
    pub instance: i32,
    pub role: String,
    /// SHA-256 of the program's file, where it could be read.
    pub build: Option<[u8; 32]>,
}

/// A lane as found and taken.
#[derive(Debug)]
pub(super) struct Claim {
    pub origin: String,
    pub tip: Tip,
    pub root: Hash,
    pub seal: Option<Vec<u8>>,
    /// Size of the largest checkpoint ever published.
    pub published: u64,
}

/// A session with the settings that the log needs.
pub(super) async fn connect(
    options: &PgConnectOptions,
    identity: &Identity,
) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let role = match identity.role.as_str() {
        "" => String::new(),
        role => format!("set role {role};"),
    };
    let settings = format!(
        "set synchronous_commit = on; set statement_timeout = 0; set lock_timeout = '{LOCK_MS_MAX}ms'; \
         set idle_session_timeout = '{IDLE_S_MAX}s'; set idle_in_transaction_session_timeout = '{IDLE_S_MAX}s'; \
         set tcp_user_timeout = '{IDLE_S_MAX}s'; {role} \
         select pg_advisory_lock_shared({INSTANCE_LOCKS}, {});",
        identity.instance
    );
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut connection).await?;
    Ok(connection)
}

/// Epochs of this process whose ALLOWs another one ends, because it found us gone.
pub(super) async fn abandoned(
    connection: &mut PgConnection,
    instance: i32,
) -> Result<Vec<Epoch>, sqlx::Error> {
    let select = "select lane, epoch from log_epoch where instance = $1 and abandoned";
    let rows: Vec<(i32, i64)> = sqlx::query_as(select).bind(instance).fetch_all(connection).await?;
    let epoch = |(lane, epoch)| (u16::try_from(lane).unwrap_or(u16::MAX), small(epoch));
    Ok(rows.into_iter().map(epoch).collect())
}

/// Makes the lane's head if there is none; false when another session holds the lane.
///
/// `last_epoch` is the epoch under which this process held it: if nobody claimed it since, a lingering session of our
/// own (a connection that broke) does not keep us out. The lock is for liveness only; the fence is the epoch.
pub(super) async fn may_claim(
    connection: &mut PgConnection,
    lane: u16,
    origin: &str,
    last_epoch: u64,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query(MAY_CLAIM)
        .bind(LANE_LOCKS)
        .bind(i32::from(lane))
        .bind(origin)
        .bind(Frontier::new().to_bytes())
        .bind(Hash::EMPTY.0.as_slice())
        .fetch_one(&mut *connection)
        .await?;
    let (locked, epoch): (bool, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(locked || (last_epoch > 0 && epoch == Some(big(last_epoch))))
}

/// Raises the epoch: from here on nobody with an older one can write. Waits for a predecessor's open transaction and
/// sees its result.
pub(super) async fn claim(
    connection: &mut PgConnection,
    lane: u16,
    instance: i32,
) -> Result<Claim, AuditError> {
    // If we stop after this, the epoch was raised for nothing: a gap, and no record.
    let row = sqlx::query(CLAIM)
        .bind(i32::from(lane))
        .bind(instance)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| {
            AuditError::Content(format!("lane {lane} has no head, or was declared dead just now"))
        })?;
    let broken = |what: &str| AuditError::Content(format!("lane {lane}: {what}"));
    let size = small(row.try_get("size")?);
    let frontier = Frontier::from_bytes(row.try_get("frontier")?);
    let frontier = frontier.map_err(|cause| broken(&cause.to_string()))?;
    let root = hash(&row, "root")?;
    if frontier.size() != size || frontier.root() != root {
        return Err(broken("size, frontier and root of its head contradict each other"));
    }
    let edge =
        edge(connection, lane, size).await?.ok_or_else(|| broken("its tiles are not whole"))?;
    Ok(Claim {
        origin: row.try_get("origin")?,
        root,
        seal: row.try_get("seal")?,
        published: small(row.try_get("published")?),
        tip: Tip {
            lane,
            epoch: small(row.try_get("epoch")?),
            frontier,
            edge,
            last_ns: row.try_get("last_ns")?,
            version: row.try_get("version")?,
            erasures: row.try_get("erasures")?,
            behind: false,
        },
    })
}

/// Commits something that changes nothing: what was committed before it is then as durable as this.
pub(super) async fn touch(connection: &mut PgConnection, lane: u16) -> Result<(), sqlx::Error> {
    let update = "update log_head set last_ns = last_ns where lane = $1";
    sqlx::query(update).bind(i32::from(lane)).execute(connection).await.map(drop)
}

/// Whether exactly this batch is in the log: asked when the answer to its commit was lost.
pub(super) async fn holds(
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<bool, sqlx::Error> {
    let found: Option<bool> = sqlx::query_scalar(
        "select leaves = $3 and epoch = $4 from log_batch where lane = $1 and first_index = $2",
    )
    .bind(i32::from(batch.tip.lane))
    .bind(big(batch.tree.first_index()))
    .bind(batch.leaves.as_slice())
    .bind(big(batch.tip.epoch))
    .fetch_optional(connection)
    .await?;
    Ok(found == Some(true))
}

/// Who made a version of the facts, and the digest of what was applied.
pub(super) async fn fact_change(
    connection: &mut PgConnection,
    version: i64,
) -> Result<Option<(Arc<str>, [u8; 32])>, sqlx::Error> {
    let select = "select applied_by, digest from registry_version where version = $1";
    let found: Option<(String, Vec<u8>)> =
        sqlx::query_as(select).bind(version).fetch_optional(connection).await?;
    Ok(found.and_then(|(who, digest)| Some((who.into(), digest.try_into().ok()?))))
}

pub(super) async fn ping(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.ping().await
}

/// The partial tiles at the right end of a tree: level 0 from the last leaves, the others from the full tiles below.
async fn edge(
    connection: &mut PgConnection,
    lane: u16,
    size: u64,
) -> Result<Option<tile::Edge>, sqlx::Error> {
    let partials = tile::partials(size);
    let top = partials.iter().map(|(id, _)| usize::from(id.level) + 1).max().unwrap_or(0);
    let mut levels = vec![Vec::new(); top];
    for (id, width) in partials {
        let start = id.index * u64::from(tile::WIDTH);
        let hashes = match id.level.checked_sub(1) {
            None => last_leaves(connection, lane, start).await?,
            Some(below) => tile_roots(connection, lane, below, start).await?,
        };
        if hashes.len() != usize::from(width) {
            return Ok(None);
        }
        if let Some(level) = levels.get_mut(usize::from(id.level)) {
            *level = hashes;
        }
    }
    Ok(tile::Edge::from_partials(size, levels))
}

async fn last_leaves(
    connection: &mut PgConnection,
    lane: u16,
    start: u64,
) -> Result<Vec<Hash>, sqlx::Error> {
    let rows = sqlx::query(
        "select first_index, leaves from log_batch
         where lane = $1 and first_index > $2 - $3 and first_index + count > $2 order by first_index",
    )
    .bind(i32::from(lane))
    .bind(big(start))
    .bind(COUNT_MAX)
    .fetch_all(connection)
    .await?;
    let mut hashes = Vec::new();
    for row in rows {
        let first = small(row.try_get(0)?);
        let leaves = tlog::bundle::leaves(row.try_get(1)?).flatten();
        let wanted = (first..).zip(leaves).filter(|(index, _)| *index >= start);
        hashes.extend(wanted.map(|(_, leaf)| Hash::leaf(leaf)));
    }
    Ok(hashes)
}

async fn tile_roots(
    connection: &mut PgConnection,
    lane: u16,
    level: u8,
    start: u64,
) -> Result<Vec<Hash>, sqlx::Error> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(
        "select hashes from log_tile where lane = $1 and level = $2 and n >= $3 order by n",
    )
    .bind(i32::from(lane))
    .bind(i16::from(level))
    .bind(big(start))
    .fetch_all(connection)
    .await?;
    Ok(rows
        .iter()
        .filter_map(|bytes| Hash::many(bytes))
        .map(|hashes| tile::root(&hashes))
        .collect())
}

/// Sizes and indexes as Postgres keeps them. A tree never reaches 2^62 leaves.
pub(super) fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn small(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn hash(row: &PgRow, column: &str) -> Result<Hash, AuditError> {
    let bytes: &[u8] = row.try_get(column)?;
    Hash::from_slice(bytes)
        .ok_or_else(|| AuditError::Content(format!("`{column}` is not 32 bytes")))
}

/// Classes of advisory locks: a lane's holder, a living process, the projection.
const LANE_LOCKS: i32 = 0x4854_0001;
pub(super) const INSTANCE_LOCKS: i32 = 0x4854_0002;
pub(super) const TASK_LOCKS: i32 = 0x4854_0003;
/// A change of facts or a predecessor's transaction may hold us this long; below the deadline of a commit.
const LOCK_MS_MAX: u32 = 1_500;
/// A session that says nothing for so long belongs to a process that is stopped or cut off: Postgres ends it, and the lane goes to
/// another replica. A living one asks every second. The same within a transaction, and when nobody reads what was answered (over
/// TCP): one session of a stopped process that stays would keep its ALLOWs open, and the projection from everybody.
const IDLE_S_MAX: u32 = 5;
/// More records than any batch has.
const COUNT_MAX: i64 = 8_192;

const MAY_CLAIM: &str = "
    with made as (
        insert into log_head (lane, origin, frontier, root) values ($2, $3, $4, $5) on conflict do nothing
    )
    select pg_try_advisory_lock($1, $2), (select epoch from log_head where lane = $2)";

const CLAIM: &str = "
    with claimed as (
        update log_head set epoch = epoch + 1 where lane = $1 and dead_at is null
        returning lane, origin, epoch, size, frontier, root, last_ns, seal
    ), noted as (
        insert into log_epoch (lane, epoch, first_index, instance)
        select lane, epoch, size, $2 from claimed
    )
    select claimed.*,
           (select version from fact_head where id = 1) as version,
           (select erasures from fact_head where id = 1) as erasures,
           coalesce((select max(size) from log_checkpoint where lane = $1), 0) as published
    from claimed";
