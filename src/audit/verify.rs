//! The log held against itself: leaves, marks, tiles, checkpoints, texts and rows, as the database has them now.
//!
//! *Invariant:* reads only, in one snapshot. It cannot see what the database's owner rewrote consistently, key included:
//! for that there are receipts, witnesses and `haetae-verify`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::PgPool;
use tlog::{Hash, VerifierKey};
use tokio_util::task::TaskTracker;

use super::AuditError;

mod canonical;
mod ends;
mod lane;
mod rows;
mod rules;
mod seen;
pub(super) mod store;
mod texts;
mod tree;
mod tuple;

/// What was read and everything that does not fit.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub lanes: u64,
    pub records: u64,
    pub checkpoints: u64,
    pub texts: u64,
    pub rows: u64,
    /// In the order of lanes and indexes; empty when the log is whole.
    pub findings: Vec<Finding>,
}

/// One difference and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub lane: u16,
    pub index: Option<u64>,
    /// Record id, as far as the record can still be read.
    pub id: Option<String>,
    pub what: What,
    /// One sentence.
    pub about: String,
}

/// The kind of difference, a published code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "lane {}", self.lane)?;
        if let Some(index) = self.index {
            write!(out, ", index {index}")?;
        }
        if let Some(id) = &self.id {
            write!(out, ", record {id}")?;
        }
        write!(out, ": {}: {}", self.what.code(), self.about)
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
    verify_watched(pool, trusted, Arc::new(|_| {})).await
}

/// The same; `watch` hears after each page how far it is. Lanes are read side by side, in one snapshot.
pub async fn verify_watched(
    pool: &PgPool,
    trusted: &[VerifierKey],
    watch: Watch,
) -> Result<Report, AuditError> {
    let mut snapshot = store::snapshot(pool).await?;
    let name = store::snapshot_name(&mut snapshot).await?;
    let mut walk = Walk::default();
    let heads = store::heads(&mut snapshot).await?;
    walk.report.lanes = heads.len() as u64;
    let pace = Arc::new(Pace {
        of: heads.iter().map(|head| head.size).sum(),
        read: AtomicU64::new(0),
        watch,
    });
    let (trusted, mut heads) = (Arc::<[VerifierKey]>::from(trusted), heads.into_iter().peekable());
    while heads.peek().is_some() {
        let mut walks = Vec::new();
        for head in heads.by_ref().take(SIDE_BY_SIDE) {
            let (pool, name) = (pool.clone(), name.clone());
            let (trusted, pace) = (Arc::clone(&trusted), Arc::clone(&pace));
            walks.push(TaskTracker::new().spawn(async move {
                let mut same = store::same_snapshot(&pool, &name).await?;
                lane::walk(&mut same, head, trusted, &pace).await
            }));
        }
        for one in walks {
            let one = one.await.map_err(|cause| AuditError::Content(cause.to_string()))?;
            walk.join(one?);
        }
    }
    walk.heartbeats();
    walk.ends.check(&mut walk.report.findings);
    texts::check(&mut snapshot, &mut walk).await?;
    walk.report.findings.sort_by_key(|finding| (finding.lane, finding.index.unwrap_or(u64::MAX)));
    Ok(walk.report)
}

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub records: u64,
    /// Records that the heads of all lanes state.
    pub of: u64,
}

/// Who hears of it; called from several tasks.
pub type Watch = Arc<dyn Fn(Progress) + Send + Sync>;

/// The progress of all lanes together.
struct Pace {
    of: u64,
    read: AtomicU64,
    watch: Watch,
}

impl Pace {
    fn page(&self, records: u64) {
        let records = self.read.fetch_add(records, Ordering::Relaxed) + records;
        (self.watch)(Progress { records, of: self.of });
    }
}

/// What is gathered over all lanes.
#[derive(Debug, Default)]
struct Walk {
    report: Report,
    /// Root at the end of each batch, by lane and size.
    roots: BTreeMap<(u16, u64), Hash>,
    sizes: BTreeMap<u16, u64>,
    /// Heads that heartbeats state: where the heartbeat is, and (lane, size, root).
    beats: Vec<(At, (u16, u64, String))>,
    ends: ends::Ends,
    /// Which texts have been named together, with or without rows: base64 of the three digests.
    named: HashSet<[u8; 3 * rules::DIGEST_CHARS + 1]>,
    /// Texts that decisions name: digest -> kind and where it is named first.
    texts: BTreeMap<Vec<u8>, (&'static str, At)>,
    /// `detail` texts with the `facts` that they were made of.
    details: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Record ids, and where they stand.
    ids: HashMap<uuid::Uuid, (u16, u64)>,
}

/// A place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct At {
    lane: u16,
    index: u64,
    id: Option<Id>,
}

/// A record's id as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Id {
    Uuid(uuid::Uuid),
    Text(String),
}

impl At {
    fn finding(&self, what: What, about: impl Into<String>) -> Finding {
        let id = self.id.as_ref().map(|id| match id {
            Id::Uuid(id) => id.to_string(),
            Id::Text(text) => text.clone(),
        });
        Finding { lane: self.lane, index: Some(self.index), id, what, about: about.into() }
    }
}

impl Walk {
    fn find(&mut self, at: &At, what: What, about: impl Into<String>) {
        self.report.findings.push(at.finding(what, about));
    }

    /// Takes over what another lane gave.
    fn join(&mut self, other: Self) {
        let (report, more) = (&mut self.report, other.report);
        report.records += more.records;
        report.checkpoints += more.checkpoints;
        report.rows += more.rows;
        report.findings.extend(more.findings);
        self.roots.extend(other.roots);
        self.sizes.extend(other.sizes);
        self.beats.extend(other.beats);
        self.ends.join(other.ends);
        for (digest, named) in other.texts {
            self.texts.entry(digest).or_insert(named);
        }
        for (detail, facts) in other.details {
            self.details.entry(detail).or_insert(facts);
        }
        for (id, (lane, index)) in other.ids {
            if self.ids.insert(id, (lane, index)).is_some() {
                let at = At { lane, index, id: Some(Id::Uuid(id)) };
                self.find(&at, What::Rule, "another record has its id");
            }
        }
    }

    fn find_lane(&mut self, lane: u16, what: What, about: impl Into<String>) {
        let about = about.into();
        self.report.findings.push(Finding { lane, index: None, id: None, what, about });
    }

    /// Every head that a heartbeat states must be what its lane had.
    fn heartbeats(&mut self) {
        for (at, (lane, size, root)) in std::mem::take(&mut self.beats) {
            let Some(now) = self.sizes.get(&lane) else {
                self.find(
                    &at,
                    What::Tree,
                    format!("the heartbeat names lane {lane}, which is gone"),
                );
                continue;
            };
            if size > *now {
                let about = format!(
                    "lane {lane} had {size} records when this heartbeat was written, now {now}"
                );
                self.report.findings.push(Finding {
                    lane,
                    index: Some(*now),
                    id: None,
                    what: What::Missing,
                    about,
                });
                continue;
            }
            let known =
                if size == 0 { Some(Hash::EMPTY) } else { self.roots.get(&(lane, size)).copied() };
            if known.is_some_and(|known| known.to_string() != root) {
                self.find(
                    &at,
                    What::Tree,
                    format!("the heartbeat has another root of lane {lane} at size {size}"),
                );
            }
        }
    }
}

/// Lanes read at once, a connection each; one core is busy with one lane.
const SIDE_BY_SIDE: usize = 3;
