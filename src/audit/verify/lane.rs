//! One lane, leaf by leaf.

use sqlx::PgConnection;
use tlog::{Hash, VerifierKey};

use super::{
    At, Pace, Walk, What,
    store::{self, HeadState, StoredBatch},
    tree::Tree,
};
use crate::audit::{
    AuditError,
    batch::MARK_BYTES,
    instant,
    row::{Leaf, Row},
};

/// Where the walk is, and what the rules over a lane need to know of the leaf before.
struct Position {
    lane: u16,
    next: u64,
    last_ns: Option<i64>,
    epoch: u64,
    /// Fact version of the last `lane_open` or `fact_change`.
    version: Option<i64>,
}

pub(super) async fn walk(
    connection: &mut PgConnection,
    head: &HeadState,
    trusted: &[VerifierKey],
    walk: &mut Walk,
    pace: &Pace,
) -> Result<(), AuditError> {
    let lane = head.lane;
    let tiles = store::tiles(connection, lane).await?;
    let checkpoints = store::checkpoints(connection, lane).await?;
    let mut tree = Tree::new(lane, tiles, checkpoints);
    let mut at = Position { lane, next: 0, last_ns: None, epoch: 0, version: None };
    loop {
        let batches = store::batches(connection, lane, at.next, BATCHES).await?;
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else { break };
        let before = at.next;
        let range = (first.first.min(at.next), last.first + last.count);
        let kept = store::rows(connection, lane, range).await?;
        let mut due = Vec::new();
        for batch in &batches {
            at.batch(batch, head, trusted, &mut tree, walk, &mut due);
        }
        due.sort_by_key(|row: &Row| row.place().index);
        compare(&kept, &due, lane, walk);
        pace.page(at.next - before);
    }
    let beyond = store::rows(connection, lane, (at.next, i64::MAX.unsigned_abs())).await?;
    compare(&beyond, &[], lane, walk);
    if head.projected > at.next {
        walk.find_lane(
            lane,
            What::Row,
            format!("rows are said to go to {}, the lane to {}", head.projected, at.next),
        );
    }
    walk.sizes.insert(lane, at.next);
    let signed = tree.signed();
    let age = store::age_beyond(connection, lane, signed).await?;
    if let Some(age) = age.filter(|age| *age > COVERED_S) {
        // Without this, whoever deletes checkpoints could rewrite what they covered without a key.
        let about = format!(
            "records {signed} to {} are under no signed checkpoint, the oldest for {age} s: checkpoints follow within \
             a second, or when a gateway that died is started again",
            at.next
        );
        walk.find_lane(lane, What::Checkpoint, about);
    }
    tree.close(head, walk);
    Ok(())
}

impl Position {
    fn batch(
        &mut self,
        batch: &StoredBatch,
        head: &HeadState,
        trusted: &[VerifierKey],
        tree: &mut Tree,
        walk: &mut Walk,
        due: &mut Vec<Row>,
    ) {
        if batch.first != self.next {
            let (lane, index, what) = (self.lane, Some(self.next), What::Missing);
            let about = format!("records {} to {} are missing", self.next, batch.first - 1);
            walk.report.findings.push(super::Finding { lane, index, id: None, what, about });
            tree.break_off();
            (self.version, self.epoch) = (None, batch.epoch);
            self.next = batch.first;
        }
        let leaves: Vec<_> = tlog::bundle::leaves(&batch.leaves).collect();
        let whole = leaves.iter().filter(|leaf| leaf.is_ok()).count() as u64;
        if whole != batch.count {
            let about = format!("a batch of {} records holds {whole}", batch.count);
            walk.find(&self.at(None), What::Edited, about);
            tree.break_off();
        }
        let marks = batch.marks.chunks(MARK_BYTES);
        for (leaf, mark) in leaves.into_iter().flatten().zip(marks) {
            self.leaf(leaf, mark, batch.epoch, head, tree, walk, due);
            tree.checkpoint(trusted, &head.origin, walk);
            self.next += 1;
        }
        self.next = batch.first + batch.count;
        tree.batch(walk);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one leaf against everything that is known of its place"
    )]
    fn leaf(
        &mut self,
        bytes: &[u8],
        mark: &[u8],
        epoch: u64,
        head: &HeadState,
        tree: &mut Tree,
        walk: &mut Walk,
        due: &mut Vec<Row>,
    ) {
        walk.report.records += 1;
        let read = Leaf::read(bytes);
        let at = self.at(read.as_ref().ok().map(|leaf| leaf.id.clone()));
        let hash = Hash::leaf(bytes);
        if hash.0.get(..MARK_BYTES) != Some(mark) {
            walk.find(
                &at,
                What::Edited,
                "the bytes are not those that were committed: they have another hash",
            );
        } else if tree.kept(self.next).is_some_and(|kept| kept != hash) {
            walk.find(&at, What::Edited, "the hash is not the one in the tile");
        }
        tree.append(hash, walk);
        let leaf = match read {
            Ok(leaf) if leaf.v == 1 => leaf,
            Ok(leaf) => {
                return walk.find(
                    &at,
                    What::Rule,
                    format!("schema version {} is not understood", leaf.v),
                );
            }
            Err(cause) => return walk.find(&at, What::Rule, format!("it cannot be read: {cause}")),
        };
        if !is_canonical(bytes) {
            walk.find(&at, What::Rule, "it is not in canonical form");
        }
        self.rules(&leaf, epoch, &at, walk);
        gather(&leaf, &at, self.next < head.projected, walk);
        match leaf.row() {
            Ok(row) => due.extend(row.filter(|_| self.next < head.projected)),
            Err(cause) => walk.find(&at, What::Rule, cause),
        }
    }

    /// The rules over a lane (docs/record.md).
    fn rules(&mut self, leaf: &Leaf, epoch: u64, at: &At, walk: &mut Walk) {
        if leaf.lane != u64::from(self.lane) || leaf.index != self.next {
            let about = format!("it was written as index {} of lane {}", leaf.index, leaf.lane);
            walk.find(at, What::Misplaced, about);
        }
        match instant::read(&leaf.at) {
            None => walk.find(at, What::Rule, "`at` is not an instant"),
            Some(ns) if self.last_ns.is_some_and(|last| ns <= last) => {
                walk.find(at, What::Rule, "it is not later than the record before it");
            }
            Some(ns) => self.last_ns = Some(ns),
        }
        let opens = leaf.kind == "lane_open";
        if leaf.epoch < self.epoch || leaf.epoch != epoch || (leaf.epoch > self.epoch) != opens {
            walk.find(
                at,
                What::Rule,
                format!("epoch {} does not follow epoch {}", leaf.epoch, self.epoch),
            );
        }
        self.epoch = self.epoch.max(leaf.epoch);
        if opens || leaf.kind == "fact_change" {
            self.version = leaf.version;
        }
        let judged = matches!(leaf.kind.as_str(), "decision" | "preflight");
        if judged && self.version.is_some() && leaf.fact_version != self.version {
            walk.find(at, What::Rule, "its fact version is not the one in force in the lane");
        }
        let place = (self.lane, self.next);
        let fresh = leaf.id.parse().is_ok_and(|id| walk.ids.insert(id, place).is_none());
        if !fresh {
            walk.find(at, What::Rule, "its id is not a UUID or another record has it");
        }
    }

    const fn at(&self, id: Option<String>) -> At {
        At { lane: self.lane, index: self.next, id }
    }
}

/// What is checked over all lanes when the walk is over.
fn gather(leaf: &Leaf, at: &At, projected: bool, walk: &mut Walk) {
    let id = leaf.id.parse().ok();
    let of = leaf.decision.as_deref().and_then(|id| id.parse().ok());
    match (leaf.kind.as_str(), id, of) {
        ("decision", Some(id), _) => {
            let allows =
                leaf.outcome.as_deref().is_some_and(|outcome| outcome.starts_with("ALLOW"));
            walk.ends.decision(id, allows);
            texts(leaf, at, projected, walk);
        }
        // It has no row, so no flows are kept for it.
        ("preflight", ..) => texts(leaf, at, false, walk),
        ("started", _, Some(of)) => walk.ends.started(of, at.clone()),
        ("ended", _, Some(of)) => walk.ends.ended(of, at.clone()),
        ("rollback", ..) => rollback(leaf, at, walk),
        ("heartbeat", ..) => {
            let beats = leaf
                .heads
                .iter()
                .map(|head| (at.clone(), (head.lane, head.size, head.root.clone())));
            walk.beats.extend(beats);
        }
        _ => {}
    }
}

/// The log itself says that records were lost: that is so, whatever else agrees.
fn rollback(leaf: &Leaf, at: &At, walk: &mut Walk) {
    let (Some(lane), Some(size), Some(found)) = (leaf.of, leaf.size, leaf.found) else {
        return walk.find(at, What::Rule, "a `rollback` without `of`, `size` and `found`");
    };
    let about = if size > found {
        format!(
            "records {found} to {size} were lost: the database was rolled back, as lane {} says at index {}",
            at.lane, at.index
        )
    } else {
        format!(
            "the first {size} records are other ones than before: so says lane {} at index {}",
            at.lane, at.index
        )
    };
    let (index, id) = (Some(found.min(size)), None);
    walk.report.findings.push(super::Finding { lane, index, id, what: What::Missing, about });
}

fn texts(leaf: &Leaf, at: &At, projected: bool, walk: &mut Walk) {
    let digest = |text: &Option<String>| {
        text.as_deref().and_then(|text| text.parse::<Hash>().ok()).map(|hash| hash.0.to_vec())
    };
    let (facts, detail, bundle) = (digest(&leaf.facts), digest(&leaf.detail), digest(&leaf.bundle));
    if let (true, Some(detail), Some(facts)) = (projected, &detail, &facts) {
        walk.details.entry(detail.clone()).or_insert_with(|| facts.clone());
    }
    for (kind, digest) in [("facts", facts), ("detail", detail), ("bundle", bundle)] {
        if let Some(digest) = digest {
            walk.texts.entry(digest).or_insert_with(|| (kind, at.clone()));
        }
    }
}

fn is_canonical(bytes: &[u8]) -> bool {
    let value = serde_json::from_slice::<serde_json::Value>(bytes).ok();
    value.and_then(|value| verdict::canonical(&value).ok()).is_some_and(|form| form == bytes)
}

/// Rows as kept against rows as they follow from the leaves; both by index.
fn compare(kept: &[Row], due: &[Row], lane: u16, walk: &mut Walk) {
    walk.report.rows += kept.len() as u64;
    let index = |row: &Row| row.place().index;
    let at = |row: &Row| At {
        lane,
        index: index(row).unsigned_abs(),
        id: Some(row.place().id.to_string()),
    };
    let (mut kept, mut due) = (kept.iter().peekable(), due.iter().peekable());
    loop {
        let (about, row) = match (kept.peek(), due.peek()) {
            (None, None) => return,
            (Some(have), Some(want)) if index(have) == index(want) => {
                let (have, want) = (kept.next(), due.next());
                let Some(row) = want.filter(|_| have != want) else { continue };
                ("the row in the query tables is not what the record says", row)
            }
            (Some(have), want) if want.is_none_or(|want| index(have) < index(want)) => {
                let Some(row) = kept.next() else { return };
                ("a row in the query tables has no record of its kind", row)
            }
            _ => {
                let Some(row) = due.next() else { return };
                ("the row in the query tables is missing", row)
            }
        };
        walk.find(&at(row), What::Row, about);
    }
}

/// Batches in memory at once: at most 64 MiB.
const BATCHES: i64 = 64;
/// Checkpoints follow commits within about a second: a minute is far past it.
const COVERED_S: i64 = 60;
