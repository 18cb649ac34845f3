//! What a walk gathers: of a part of a lane, of a lane, of all of them; and what can only be said when all is gathered.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};

use serde::{Deserialize, Serialize};
use tlog::Hash;
use uuid::Uuid;

use super::{Finding, Report, What, acts::Told, ends::Ends, rules::DIGEST_CHARS};

#[derive(Debug, Default)]
pub(super) struct Walk {
    pub report: Report,
    /// Root at the end of each batch, by lane and size.
    pub roots: BTreeMap<(u16, u64), Hash>,
    pub sizes: BTreeMap<u16, u64>,
    /// Lanes with a gap: of their later sizes no root can be told.
    pub broken: BTreeSet<u16>,
    /// Heads that heartbeats state: where the heartbeat is, and (lane, size, root).
    pub beats: Vec<(At, (u16, u64, String))>,
    pub ends: Ends,
    pub told: Told,
    /// Which texts have been named together, with or without rows: base64 of the three digests.
    pub named: HashSet<[u8; 3 * DIGEST_CHARS + 1]>,
    /// Texts that decisions name: digest -> kind and where it is named first.
    pub texts: BTreeMap<Vec<u8>, (&'static str, At)>,
    /// `detail` texts with the `facts` that they were made of.
    pub details: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The last of them: most decisions name what the one before named.
    pub named_last: Option<[u8; 3 * DIGEST_CHARS + 1]>,
    /// Record ids, and where they stand; sorted when a lane's are there.
    pub ids: Ids,
}

/// Of each record its id, lane and index.
pub(super) type Ids = Vec<(Uuid, (u16, u64))>;

/// A place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct At {
    pub lane: u16,
    pub index: u64,
    pub id: Option<Id>,
}

/// A record's id as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Id {
    Uuid(Uuid),
    Text(String),
}

impl Id {
    pub fn of(text: String) -> Self {
        let id = text.parse::<Uuid>().ok();
        id.filter(|id| id.to_string() == text).map_or(Self::Text(text), Self::Uuid)
    }
}

impl At {
    pub fn finding(&self, what: What, about: impl Into<String>) -> Finding {
        let id = self.id.as_ref().map(|id| match id {
            Id::Uuid(id) => id.to_string(),
            Id::Text(text) => text.clone(),
        });
        Finding { lane: self.lane, index: Some(self.index), id, what, about: about.into() }
    }
}

impl Walk {
    pub fn find(&mut self, at: &At, what: What, about: impl Into<String>) {
        self.report.findings.push(at.finding(what, about));
    }

    pub fn find_lane(&mut self, lane: u16, what: What, about: impl Into<String>) {
        let about = about.into();
        self.report.findings.push(Finding { lane, index: None, id: None, what, about });
    }

    /// Room for what so many records give, so that it is not moved while it grows. What is not used was never touched.
    pub fn reserve(&mut self, records: u64) {
        let records = usize::try_from(records.min(ROOM_MAX)).unwrap_or(0);
        self.ids.reserve(records);
        self.ends.reserve(records);
    }

    /// What was gathered since this was asked last. Which texts were named stays: they are in an earlier part.
    pub fn part(&mut self) -> Self {
        let (named, last) = (std::mem::take(&mut self.named), self.named_last.take());
        let part = std::mem::take(self);
        (self.named, self.named_last) = (named, last);
        part
    }

    /// Takes over what another lane, or a later part of this one, gave.
    pub fn join(&mut self, other: Self) {
        let (report, more) = (&mut self.report, other.report);
        report.records += more.records;
        report.before += more.before;
        report.checkpoints += more.checkpoints;
        report.rows += more.rows;
        report.uncovered += more.uncovered;
        report.unprojected += more.unprojected;
        report.unwitnessed.extend(more.unwitnessed);
        report.newest.extend(more.newest);
        report.findings.extend(more.findings);
        self.roots.extend(other.roots);
        self.sizes.extend(other.sizes);
        self.broken.extend(other.broken);
        self.beats.extend(other.beats);
        self.ends.join(other.ends);
        self.told.join(other.told);
        for (digest, named) in other.texts {
            self.texts.entry(digest).or_insert(named);
        }
        for (detail, facts) in other.details {
            self.details.entry(detail).or_insert(facts);
        }
        if self.ids.is_empty() {
            self.ids = other.ids;
        } else {
            self.ids.extend(other.ids);
        }
    }

    /// With what is looked up over all lanes in order: each lane sorts its own, side by side, and then they are only merged.
    pub fn sorted(mut self) -> Self {
        self.ids.sort_unstable();
        self.ends.sort();
        self
    }

    /// Each record has an id of its own. `lanes`: the sorted ids of each lane.
    pub fn same_ids(&mut self, lanes: Vec<Ids>) {
        let mut lanes: Vec<_> = lanes.into_iter().map(Vec::into_iter).collect();
        let heads = lanes.iter_mut().enumerate();
        let heads = heads.filter_map(|(n, ids)| Some(Reverse((ids.next()?, n))));
        let mut heads: BinaryHeap<_> = heads.collect();
        let mut before = None;
        while let Some(Reverse(((id, (lane, index)), n))) = heads.pop() {
            let next = lanes.get_mut(n).and_then(Iterator::next);
            heads.extend(next.map(|next| Reverse((next, n))));
            if before.replace(id) == Some(id) {
                let at = At { lane, index, id: Some(Id::Uuid(id)) };
                self.find(&at, What::Rule, "another record has its id");
            }
        }
    }

    /// Every head that a heartbeat states must be what its lane had.
    pub fn heartbeats(&mut self) {
        for (at, (lane, size, root)) in std::mem::take(&mut self.beats) {
            let Some(now) = self.sizes.get(&lane) else {
                let about = format!("the heartbeat names lane {lane}, which is gone");
                self.find(&at, What::Tree, about);
                continue;
            };
            if size > *now {
                let about = format!(
                    "lane {lane} had {size} records when this heartbeat was written, now {now}"
                );
                let (index, id) = (Some(*now), None);
                self.report.findings.push(Finding { lane, index, id, what: What::Missing, about });
                continue;
            }
            if let Some(about) = self.contradicts(lane, size, &root) {
                self.find(&at, What::Tree, about);
            }
        }
    }

    /// Why a stated head is not one that its lane had. Heads are stated as they were committed, so each ends a batch: without that rule
    /// whoever puts batches together anew would take the root away that a head is held against.
    fn contradicts(&self, lane: u16, size: u64, root: &str) -> Option<String> {
        let known =
            if size == 0 { Some(Hash::EMPTY) } else { self.roots.get(&(lane, size)).copied() };
        match known {
            Some(known) if known.to_string() == root => None,
            Some(_) => {
                Some(format!("the heartbeat has another root of lane {lane} at size {size}"))
            }
            None if self.broken.contains(&lane) => None,
            None => Some(format!(
                "the heartbeat says that lane {lane} had {size} records, and {NO_BATCH_ENDS}"
            )),
        }
    }
}

/// What is stated or signed is what was committed.
pub(super) const NO_BATCH_ENDS: &str = "no batch ends there: batches were put together anew";
/// Lists of so many records take about 105 MB.
const ROOM_MAX: u64 = 1 << 20;
