//! The log held against itself: leaves, marks, tiles, checkpoints, texts and rows, as the database has them now.
//!
//! *Invariant:* reads only, in one snapshot. It cannot see what the database's owner rewrote consistently, key included:
//! for that there are receipts, witnesses and `haetae-verify`.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tlog::{Policy, VerifierKey};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::AuditError;
use crate::clock::Clock;

mod absent;
mod acts;
mod canonical;
mod cosignatures;
mod ends;
mod lane;
mod rows;
mod rules;
mod seen;
mod state;
pub(super) mod store;
mod texts;
mod tree;
mod tuple;
mod walk;

pub use state::State;

use walk::{At, Id, Walk};

/// What was read and everything that does not fit.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub lanes: u64,
    pub records: u64,
    /// Of these, the records that an interrupted run had looked at; they were not looked at again.
    pub before: u64,
    pub checkpoints: u64,
    pub texts: u64,
    pub rows: u64,
    /// Records beyond the newest signed checkpoint of their lane: nothing but themselves speaks for them.
    pub uncovered: u64,
    /// Records that the query tables do not have yet; their rows were not compared.
    pub unprojected: u64,
    /// Trusted lanes that are not there yet: an earlier generation of their slot is alive.
    pub to_come: Vec<String>,
    /// Of each lane what no quorum of witnesses vouches for; nothing where nobody asked for a quorum.
    pub unwitnessed: Vec<Unwitnessed>,
    /// Of each lane when it was written to last.
    pub newest: Vec<Newest>,
    /// ALLOWs of more than [`OPEN_S`] before, by their ids, that have no `ended`; and the oldest of them. An answer may take so long, and
    /// that of a gateway that died has its end when one is started again: no fault by itself.
    pub open: u64,
    pub oldest_open: Option<Uuid>,
    /// In the order of lanes and indexes; empty when the log is whole.
    pub findings: Vec<Finding>,
}

/// The newest records of a lane: those under no checkpoint that a quorum of witnesses cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwitnessed {
    pub lane: u16,
    pub records: u64,
    /// When the first of them was written, as it says: nanoseconds since 1970.
    pub since_ns: Option<i64>,
}

/// The newest record of a lane. A gateway that serves writes one every ten seconds in one of its lanes, by turns: where the newest is old,
/// none does, or this is not the database that it writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    pub lane: u16,
    /// As it says itself: nanoseconds since 1970. Nothing where there is no record that says it.
    pub at_ns: Option<i64>,
}

/// One difference and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// [`NO_LANE`] where it is in none.
    pub lane: u16,
    pub index: Option<u64>,
    /// Record id, as far as the record can still be read.
    pub id: Option<String>,
    pub what: What,
    /// One sentence.
    pub about: String,
}

/// The kind of difference, a published code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The bytes are not those whose hash was kept.
    Edited,
    Missing,
    /// The record belongs to another place.
    Misplaced,
    /// The record breaks a rule of docs/record.md.
    Rule,
    /// The tree is not the one that was signed or kept.
    Tree,
    Checkpoint,
    Text,
    Row,
}

impl Report {
    /// There is a log, and nothing in it differs.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty() && self.lanes > 0
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lane {
            NO_LANE => out.write_str("no lane")?,
            lane => write!(out, "lane {lane}")?,
        }
        if let Some(index) = self.index {
            write!(out, ", index {index}")?;
        }
        if let Some(id) = &self.id {
            write!(out, ", record {}", Plain(id))?;
        }
        write!(out, ": {}: {}", self.what.code(), Plain(&self.about))
    }
}

/// Words of the log for people: nothing in them moves the cursor, or turns the direction of what is read.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'t>(pub &'t str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '"' | '\'' | '\\' => out.write_char(char),
            other => write!(out, "{}", other.escape_debug()),
        })
    }
}

impl What {
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Missing => "missing",
            Self::Misplaced => "misplaced",
            Self::Rule => "rule",
            Self::Tree => "tree",
            Self::Checkpoint => "checkpoint",
            Self::Text => "text",
            Self::Row => "row",
        }
    }
}

/// Verifies every lane, trusting the keys that the database states.
pub async fn verify(pool: &PgPool) -> Result<Report, AuditError> {
    verify_with(pool, &[]).await
}

/// Verifies every lane; checkpoints must be signed by one of these keys (by the stated ones when there are none).
pub async fn verify_with(pool: &PgPool, trusted: &[VerifierKey]) -> Result<Report, AuditError> {
    let now_ns = Clock::system().unix_ns();
    verify_watched(pool, trusted, None, now_ns, Arc::new(|_| {}), None).await
}

/// The same; what is kept of witnesses is held against those of a trust file. Ages are those at `now_ns`, by the clock of whoever
/// verifies, however long it is read. `watch` hears after each page how far it is. Lanes are
/// read side by side, in one snapshot. With a state goes on where an interrupted run under the same keys stopped, and removes the
/// state at the end. Cancel-safe: dropped, it has stopped.
pub async fn verify_watched(
    pool: &PgPool,
    trusted: &[VerifierKey],
    witnesses: Option<&Policy>,
    now_ns: i64,
    watch: Watch,
    state: Option<State>,
) -> Result<Report, AuditError> {
    let mut snapshot = store::snapshot(pool).await?;
    let name = store::snapshot_name(&mut snapshot).await?;
    let mut walk = Walk::default();
    let heads = store::heads(&mut snapshot).await?;
    if let Some(state) = &state {
        state.knows_only(&heads)?;
    }
    walk.report.lanes = heads.len() as u64;
    absent::lanes(trusted, &heads, &mut walk);
    let terms = Arc::new(Terms {
        now_ns,
        trusted: trusted.to_vec(),
        witnesses: witnesses.cloned(),
        state,
        of: heads.iter().map(|head| head.size).sum(),
        read: AtomicU64::new(0),
        before: AtomicU64::new(0),
        watch,
    });
    let mut ids = Vec::new();
    let mut heads = heads.into_iter().peekable();
    while heads.peek().is_some() {
        let mut lanes = JoinSet::new();
        for head in heads.by_ref().take(SIDE_BY_SIDE) {
            let (pool, name, terms) = (pool.clone(), name.clone(), Arc::clone(&terms));
            lanes.spawn(async move {
                let mut same = store::same_snapshot(&pool, &name).await?;
                let lane = head.lane;
                Ok::<_, AuditError>((lane, lane::walk(&mut same, head, terms).await?))
            });
        }
        let mut walks = Vec::new();
        while let Some(one) = lanes.join_next().await {
            walks.push(one.map_err(|cause| AuditError::Content(cause.to_string()))??);
        }
        walks.sort_by_key(|(lane, _)| *lane);
        for (_, mut one) in walks {
            ids.push(std::mem::take(&mut one.ids));
            walk.join(one);
        }
    }
    walk.heartbeats();
    walk.same_ids(ids);
    walk.ends.check(&mut walk.report.findings);
    (walk.report.open, walk.report.oldest_open) = walk.ends.open(now_ns / NS - OPEN_S);
    texts::check(&mut snapshot, &mut walk).await?;
    absent::texts(&mut snapshot, &mut walk).await?;
    absent::flows(&mut snapshot, &mut walk).await?;
    absent::rows(&mut snapshot, &mut walk).await?;
    std::mem::take(&mut walk.told).check(&mut snapshot, &mut walk.report.findings).await?;
    walk.report.findings.sort_by_key(|finding| (finding.lane, finding.index.unwrap_or(u64::MAX)));
    if let Some(state) = &terms.state {
        state.done()?;
    }
    Ok(walk.report)
}

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub records: u64,
    /// Records that the heads of all lanes state.
    pub of: u64,
    /// Of `records`, those that an interrupted run had looked at.
    pub before: u64,
}

/// Who hears of it; called from several tasks.
pub type Watch = Arc<dyn Fn(Progress) + Send + Sync>;

/// What the walks of all lanes share.
struct Terms {
    /// By the clock of whoever verifies.
    now_ns: i64,
    /// Whose signatures count; those that the database states when there are none.
    trusted: Vec<VerifierKey>,
    /// Whose cosignatures are checked, and how many are enough.
    witnesses: Option<Policy>,
    state: Option<State>,
    of: u64,
    read: AtomicU64,
    before: AtomicU64,
    watch: Watch,
}

impl Terms {
    /// Whether a checkpoint without cosignatures is not enough.
    fn asks_witnesses(&self) -> bool {
        self.witnesses.as_ref().is_some_and(|policy| !policy.is_enough(&[]))
    }

    /// So many more were looked at.
    fn page(&self, records: u64) {
        let records = self.read.fetch_add(records, Ordering::Relaxed) + records;
        let before = self.before.load(Ordering::Relaxed);
        (self.watch)(Progress { records, of: self.of, before });
    }

    /// So many were looked at by an earlier run.
    fn resumed(&self, records: u64) {
        self.before.fetch_add(records, Ordering::Relaxed);
        self.page(records);
    }
}

/// Where something is in no lane; there is none of this number.
pub const NO_LANE: u16 = u16::MAX;
/// Longer than most answers take, and than a gateway needs to close those of another that died.
pub const OPEN_S: i64 = 600;
const NS: i64 = 1_000_000_000;
/// Lanes read at once, a connection each; one core is busy with one lane.
const SIDE_BY_SIDE: usize = 3;
