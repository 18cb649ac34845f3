//! The rules over a lane (docs/record.md), and what is gathered of each leaf for the checks over all lanes.

use serde::{Deserialize, Serialize};
use tlog::Hash;
use uuid::Uuid;

use super::{At, Finding, Id, Walk, What};
use crate::audit::{instant, row::Leaf};

/// Where the walk is, and what the rules need to know of the leaf before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Position {
    pub lane: u16,
    pub next: u64,
    last_ns: Option<i64>,
    epoch: u64,
    /// Fact version of the last `lane_open` or `fact_change`.
    version: Option<i64>,
    /// How many batches were read; `None` where an earlier build began.
    #[serde(default)]
    batches: Option<u64>,
}

/// What a leaf says of its place.
pub(super) struct Stands {
    pub lane: u64,
    pub index: u64,
    pub epoch: u64,
    /// `None` when it is no instant.
    pub at_ns: Option<i64>,
    /// `None` when it is no UUID.
    pub id: Option<Uuid>,
    pub opens: bool,
    /// A `lane_open` or `fact_change`: from here on the lane's facts are of `version`.
    pub changes: bool,
    pub version: Option<i64>,
    /// It was judged, on facts of `fact_version`.
    pub judged: bool,
    pub fact_version: Option<i64>,
}

impl Stands {
    pub fn of(leaf: &Leaf<'_>) -> Self {
        let opens = &*leaf.kind == "lane_open";
        let changes = opens || &*leaf.kind == "fact_change";
        let judged = matches!(&*leaf.kind, "decision" | "preflight");
        Self {
            lane: leaf.lane,
            index: leaf.index,
            epoch: leaf.epoch,
            at_ns: instant::read(&leaf.at),
            id: leaf.id.parse().ok(),
            opens,
            changes,
            version: leaf.version,
            judged,
            fact_version: leaf.fact_version,
        }
    }
}

impl Position {
    pub const fn new(lane: u16) -> Self {
        Self { lane, next: 0, last_ns: None, epoch: 0, version: None, batches: Some(0) }
    }

    /// Over records that are missing.
    pub const fn jump(&mut self, next: u64, epoch: u64) {
        (self.version, self.epoch) = (None, epoch);
        self.next = next;
    }

    /// A batch was read.
    pub const fn batch(&mut self) {
        if let Some(batches) = &mut self.batches {
            *batches += 1;
        }
    }

    pub const fn batches(&self) -> Option<u64> {
        self.batches
    }

    /// `at` of the latest record so far.
    pub const fn last_ns(&self) -> Option<i64> {
        self.last_ns
    }

    pub fn at(&self, id: Option<Uuid>) -> At {
        At { lane: self.lane, index: self.next, id: id.map(Id::Uuid) }
    }

    pub fn rules(&mut self, leaf: &Stands, epoch: u64, at: &At, walk: &mut Walk) {
        if leaf.lane != u64::from(self.lane) || leaf.index != self.next {
            let about = format!("it was written as index {} of lane {}", leaf.index, leaf.lane);
            walk.find(at, What::Misplaced, about);
        }
        match leaf.at_ns {
            None => walk.find(at, What::Rule, "`at` is not an instant"),
            Some(ns) if self.last_ns.is_some_and(|last| ns <= last) => {
                walk.find(at, What::Rule, "it is not later than the record before it");
            }
            Some(ns) => self.last_ns = Some(ns),
        }
        if leaf.epoch < self.epoch || leaf.epoch != epoch || (leaf.epoch > self.epoch) != leaf.opens
        {
            let about = format!("epoch {} does not follow epoch {}", leaf.epoch, self.epoch);
            walk.find(at, What::Rule, about);
        }
        self.epoch = self.epoch.max(leaf.epoch);
        if leaf.changes {
            self.version = leaf.version;
        }
        if leaf.judged && self.version.is_some() && leaf.fact_version != self.version {
            walk.find(at, What::Rule, "its fact version is not the one in force in the lane");
        }
        let place = (self.lane, self.next);
        match leaf.id {
            Some(id) => walk.ids.push((id, place)),
            None => walk.find(at, What::Rule, "its id is not a UUID"),
        }
    }
}

/// What is checked over all lanes when the walk is over.
pub(super) fn gather(leaf: &Leaf<'_>, at: &At, projected: bool, walk: &mut Walk) {
    walk.told.gather(leaf, at);
    let id = leaf.id.parse().ok();
    let of = leaf.decision.as_deref().and_then(|id| id.parse().ok());
    let texts = [&leaf.facts, &leaf.detail, &leaf.bundle];
    let texts = texts.map(|text| text.as_deref().unwrap_or_default().as_bytes());
    match (&*leaf.kind, id, of) {
        ("decision", Some(id), _) => {
            let allows =
                leaf.outcome.as_deref().is_some_and(|outcome| outcome.starts_with("ALLOW"));
            walk.ends.decision(id, allows);
            named(texts, at, projected, walk);
        }
        // It has no row, so no flows are kept for it.
        ("preflight", ..) => named(texts, at, false, walk),
        ("started", _, Some(of)) => walk.ends.started(of, at.clone()),
        ("ended", _, Some(of)) => walk.ends.ended(of, at.clone()),
        ("rollback", ..) => rollback(leaf, at, walk),
        ("heartbeat", ..) => {
            let beats = leaf.heads.iter();
            let beats = beats.map(|head| (at.clone(), (head.lane, head.size, head.root.clone())));
            walk.beats.extend(beats);
        }
        _ => {}
    }
}

/// The texts that a decision names: digests of `facts`, `detail` and `bundle` in base64. Most name what one before named.
pub(super) fn named(texts: [&[u8]; 3], at: &At, projected: bool, walk: &mut Walk) {
    let mut all = [0; 3 * DIGEST_CHARS + 1];
    for (place, text) in all.chunks_exact_mut(DIGEST_CHARS).zip(texts) {
        if text.len() == DIGEST_CHARS {
            place.copy_from_slice(text);
        }
    }
    if let Some(last) = all.last_mut() {
        *last = u8::from(projected);
    }
    let usual = texts.iter().all(|text| text.len() == DIGEST_CHARS);
    if usual && (walk.named_last == Some(all) || !walk.named.insert(all)) {
        walk.named_last = Some(all);
        return;
    }
    let digest = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok()?;
        text.parse::<Hash>().ok().map(|hash| hash.0.to_vec())
    };
    let [facts, detail, bundle] = texts.map(digest);
    if let (true, Some(detail), Some(facts)) = (projected, &detail, &facts) {
        walk.details.entry(detail.clone()).or_insert_with(|| facts.clone());
    }
    for (kind, digest) in [("facts", facts), ("detail", detail), ("bundle", bundle)] {
        if let Some(digest) = digest {
            walk.texts.entry(digest).or_insert_with(|| (kind, at.clone()));
        }
    }
}

/// The log itself says that records were lost: that is so, whatever else agrees.
fn rollback(leaf: &Leaf<'_>, at: &At, walk: &mut Walk) {
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
    walk.report.findings.push(Finding { lane, index, id, what: What::Missing, about });
}

/// A SHA-256 in base64.
pub(super) const DIGEST_CHARS: usize = 44;
