//! One lane, leaf by leaf.

use std::sync::Arc;

use sqlx::PgConnection;
use tlog::Hash;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{
    At, Id, Terms, Walk, What,
    rows::{self, Rows},
    rules::{self, Position, Stands},
    seen::{Hot, Seen},
    store::{self, HeadState, StoredBatch},
    tree::Tree,
    tuple,
};
use crate::audit::{
    AuditError,
    batch::MARK_BYTES,
    row::{Leaf, Row},
};

mod close;
mod resume;

/// What is read at once, and what it is held against.
struct Page {
    batches: Vec<StoredBatch>,
    /// The index after its last record.
    until: u64,
    rows: Rows,
    /// Full tiles of the lowest level that end in this page, or hold its last leaves.
    tiles: Vec<((u8, u64), Vec<u8>)>,
}

impl Page {
    /// Where the first batch of the next page may begin at the earliest.
    fn begins(&self) -> u64 {
        self.batches.last().map_or(self.until, |last| last.first + 1)
    }

    /// As many batches for the next page as make some records, going by this one's.
    fn next_batches(&self) -> i64 {
        let records: u64 = self.batches.iter().map(|batch| batch.count).sum();
        let each = (records / (self.batches.len() as u64).max(1)).max(1);
        i64::try_from(RECORDS / each).unwrap_or(BATCHES_MAX).clamp(1, BATCHES_MAX)
    }
}

/// Everything that is known of a lane while it is walked. Moves to a thread of its own for each page.
struct Walker {
    head: Arc<HeadState>,
    terms: Arc<Terms>,
    at: Position,
    tree: Tree,
    /// What was gathered since the state was written last, and everything before it.
    walk: Walk,
    whole: Walk,
    saved: Instant,
    /// A row as it should be.
    due: Vec<u8>,
    /// The first record under no signed checkpoint so far: its index, and its `at`.
    beyond: Option<(u64, i64)>,
}

pub(super) async fn walk(
    connection: &mut PgConnection,
    head: HeadState,
    terms: Arc<Terms>,
) -> Result<Walk, AuditError> {
    let lane = head.lane;
    let mut walker = Walker::begin(connection, head, Arc::clone(&terms)).await?;
    let mut from = walker.at.next;
    let mut next = page(connection, lane, (from, from), BATCHES_MIN).await?;
    while let Some(page_now) = next {
        let (begins, until) = (page_now.begins(), page_now.until);
        let batches = page_now.next_batches();
        // The next page is read while this one is checked.
        let checked = TaskTracker::new().spawn_blocking(move || walker.page(page_now));
        next = page(connection, lane, (begins, until), batches).await?;
        walker = checked.await.map_err(|cause| AuditError::Content(cause.to_string()))??;
        terms.page(until - from);
        from = until;
    }
    let walk = walker.close(connection).await?;
    let sorted = TaskTracker::new().spawn_blocking(move || walk.sorted());
    sorted.await.map_err(|cause| AuditError::Content(cause.to_string()))
}

/// Batches that begin at or after `begins`, and the rows from `from` on. They are two numbers: what begins within the last batch of
/// a page would otherwise be read by everybody but us.
async fn page(
    connection: &mut PgConnection,
    lane: u16,
    (begins, from): (u64, u64),
    batches: i64,
) -> Result<Option<Page>, AuditError> {
    let batches = store::batches(connection, lane, begins, batches).await?;
    if batches.is_empty() {
        return Ok(None);
    }
    let until = batches.iter().fold(from, |until, batch| batch.until(until).unwrap_or(until));
    let rows = rows::store::kept(connection, lane, (from, until)).await?;
    let width = u64::from(tlog::tile::WIDTH);
    let (low, high) = (from / width, until / width);
    let tiles = store::numbered_tiles(connection, lane, 0, low, high + 1).await?;
    let tiles = tiles.into_iter().map(|(n, hashes)| ((0, n), hashes)).collect();
    Ok(Some(Page { batches, until, rows, tiles }))
}

impl Walker {
    fn page(mut self, mut page: Page) -> Result<Self, AuditError> {
        self.tree.keep(page.tiles);
        for batch in &page.batches {
            self.batch(batch, &mut page.rows);
        }
        page.rows.close(self.at.lane, &mut self.walk);
        self.save()?;
        Ok(self)
    }

    fn batch(&mut self, batch: &StoredBatch, rows: &mut Rows) {
        self.at.batch();
        let Some(until) = batch.until(self.at.next) else { return self.within(batch) };
        if batch.first != self.at.next {
            let (lane, index, what) = (self.at.lane, Some(self.at.next), What::Missing);
            let about = format!("records {} to {} are missing", self.at.next, batch.first - 1);
            self.walk.report.findings.push(super::Finding { lane, index, id: None, what, about });
            self.tree.break_off();
            self.at.jump(batch.first, batch.epoch);
        }
        self.states(batch);
        for (n, (leaf, mark)) in (1..).zip(batch.marked()) {
            self.leaf(leaf, mark, batch.epoch, rows);
            let (trusted, origin) = (&self.terms.trusted, &self.head.origin);
            self.tree.checkpoint(trusted, origin, n == batch.whole, &mut self.walk);
            self.at.next += 1;
        }
        self.at.next = until;
        self.tree.batch(&mut self.walk);
    }

    /// A batch that begins within the one before it: its records are nobody's, and whoever looks one up by its index is given these.
    fn within(&mut self, batch: &StoredBatch) {
        let (lane, index, what) = (self.at.lane, Some(batch.first), What::Misplaced);
        let about = format!("a batch begins within another one, which ends at {}", self.at.next);
        self.walk.report.findings.push(super::Finding { lane, index, id: None, what, about });
    }

    /// Holds what the batch states against what it holds.
    fn states(&mut self, batch: &StoredBatch) {
        let mut find = |about| self.walk.find(&self.at.at(None), What::Edited, about);
        let (count, whole) = (batch.count, batch.whole);
        if whole != count {
            find(format!("a batch of {count} records holds {whole}"));
            self.tree.break_off();
        } else if whole == 0 {
            find("a batch of no records".to_owned());
        } else if batch.cut {
            find(format!("after the {whole} records of a batch there are bytes that are none"));
        }
        let marks = batch.marks().len();
        if marks as u64 != count * MARK_BYTES as u64 {
            find(format!("the marks of a batch of {count} records are {marks} bytes"));
        }
    }

    fn leaf(&mut self, bytes: &[u8], mark: &[u8], epoch: u64, rows: &mut Rows) {
        self.walk.report.records += 1;
        let hash = Hash::leaf(bytes);
        let changed = if hash.0.get(..MARK_BYTES) != Some(mark) {
            Some("the bytes are not those that were committed: they have another hash")
        } else if self.tree.kept(self.at.next).is_some_and(|kept| kept != hash) {
            Some("the hash is not the one in the tile")
        } else {
            None
        };
        if changed.is_some() {
            self.tree.differ();
        }
        self.tree.append(hash, &mut self.walk);
        match Seen::read(bytes) {
            Some(seen) => self.seen(&seen, changed, epoch, rows),
            None => self.read(bytes, changed, epoch, rows),
        }
    }

    /// A leaf of the kinds of which a log is made.
    fn seen(&mut self, seen: &Seen<'_>, changed: Option<&str>, epoch: u64, rows: &mut Rows) {
        let at = self.at.at(Some(seen.id));
        if let Some(about) = changed {
            self.walk.find(&at, What::Edited, about);
        }
        let stands = Stands {
            lane: seen.lane,
            index: seen.index,
            epoch: seen.epoch,
            at_ns: Some(seen.at_ns),
            id: Some(seen.id),
            opens: false,
            changes: false,
            version: None,
            judged: seen.what == Hot::Decision,
            fact_version: seen.fact_version,
        };
        self.rules(&stands, epoch, &at);
        let projected = self.at.next < self.head.projected;
        match (seen.what, seen.of()) {
            (Hot::Decision, _) => {
                self.walk.ends.decision(seen.id, seen.allows());
                rules::named(seen.texts(), &at, projected, &mut self.walk);
            }
            (Hot::Started, Some(of)) => self.walk.ends.started(of, at.clone()),
            (Hot::Ended, Some(of)) => self.walk.ends.ended(of, at.clone()),
            (_, None) => {}
        }
        if projected {
            let index = self.at.next;
            match seen.row(&mut self.due) {
                Some(()) => rows.compare(seen.what, index, &self.due, &at, &mut self.walk),
                None => self.walk.find(
                    &at,
                    What::Rule,
                    "a key of its row is missing, or is not what it should be",
                ),
            }
        }
    }

    /// Any other leaf, with everything that may be wrong with one.
    fn read(&mut self, bytes: &[u8], changed: Option<&str>, epoch: u64, rows: &mut Rows) {
        let read = Leaf::read(bytes);
        let id = read.as_ref().ok().map(|leaf| leaf.id.to_string());
        let at = At { lane: self.at.lane, index: self.at.next, id: id.map(Id::of) };
        if let Some(about) = changed {
            self.walk.find(&at, What::Edited, about);
        }
        let leaf = match read {
            Ok(leaf) if leaf.v == 1 => leaf,
            Ok(leaf) => {
                let about = format!("schema version {} is not understood", leaf.v);
                return self.walk.find(&at, What::Rule, about);
            }
            Err(cause) => {
                return self.walk.find(&at, What::Rule, format!("it cannot be read: {cause}"));
            }
        };
        if !is_canonical(bytes) {
            self.walk.find(&at, What::Rule, "it is not in canonical form");
        }
        self.rules(&Stands::of(&leaf), epoch, &at);
        let projected = self.at.next < self.head.projected;
        rules::gather(&leaf, &at, projected, &mut self.walk);
        match leaf.row() {
            Ok(row) => {
                if let Some(row) = row.filter(|_| projected) {
                    self.slow_row(&row, rows, &at);
                }
            }
            Err(cause) => self.walk.find(&at, What::Rule, cause),
        }
    }

    fn slow_row(&mut self, row: &Row<'_>, rows: &mut Rows, at: &At) {
        tuple::of_row(row, &mut self.due);
        let kind = match row {
            Row::Decision(_) => Hot::Decision,
            Row::Started(_) => Hot::Started,
            Row::Ended(_) => Hot::Ended,
        };
        rows.compare(kind, self.at.next, &self.due, at, &mut self.walk);
    }

    fn rules(&mut self, stands: &Stands, epoch: u64, at: &At) {
        self.at.rules(stands, epoch, at, &mut self.walk);
        if self.at.next == self.tree.signed() {
            self.beyond = stands.at_ns.map(|at_ns| (self.at.next, at_ns));
        }
    }
}

fn is_canonical(bytes: &[u8]) -> bool {
    let value = serde_json::from_slice::<serde_json::Value>(bytes).ok();
    value.and_then(|value| verdict::canonical(&value).ok()).is_some_and(|form| form == bytes)
}

/// Records of a page: some 8 MB, so that what was read is still near when it is looked at, and its memory is used again.
const RECORDS: u64 = 8_192;
/// Batches in memory at once, twice: at most 256 MiB for each lane that is read.
const BATCHES_MAX: i64 = 128;
const BATCHES_MIN: i64 = 8;
