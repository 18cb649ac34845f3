//! What waits becomes one commit: leaves, their tree, the texts that are new. Pure but for randomness.
//!
//! *Invariant:* nothing here is durable yet; a batch is either released whole or taken apart again.

use std::collections::HashSet;
use std::sync::Arc;

use tlog::{Frontier, Hash, tile};
use uuid::Uuid;

use super::{
    AuditError, Grade, Proof, RecordError, Text,
    chance::{self, Pool},
    commit::Left,
    keeps::HeldRow,
    leaf::{self, DECISION_BYTES_MAX, Decision, Notice, Stamp, Who},
    private::{Person, Private, Salts},
    queue::{Items, Noted, Request},
};
use crate::{byte_sequence, privacy::Privacy};

/// The right end of a lane. Owned by the task that holds the lane.
#[derive(Debug, Clone)]
pub(super) struct Tip {
    pub lane: u16,
    pub epoch: u64,
    pub frontier: Frontier,
    pub edge: tile::Edge,
    /// `at` of the last leaf.
    pub last_ns: i64,
    /// Fact version that the lane's last `lane_open` or `fact_change` names.
    pub version: i64,
    /// Erasures that were made: nothing that the lane remembers of people is older than the last of them.
    pub erasures: i64,
    /// The clock went backwards and has not caught up; said once.
    pub behind: bool,
}

/// What a lane remembers from batch to batch, and forgets when a commit does not go through.
#[derive(Debug)]
pub(super) struct Memory {
    chance: Pool,
    salts: Salts,
    /// Texts known to be durable.
    texts: HashSet<[u8; 32]>,
}

/// The facts that a batch is judged under.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub version: i64,
    /// Who made this version and the digest of what was applied, as far as the registry says.
    pub change: Option<(Arc<str>, [u8; 32])>,
}

/// The version that these items can be committed under: the newest that any of them was judged under, or that was seen.
pub(super) fn version_of(items: &Items, in_force: i64) -> i64 {
    let judged_under = items.decisions.iter().map(|request| request.decision.draft.fact_version);
    judged_under.fold(in_force, i64::max)
}

/// One commit, ready to be written.
#[derive(Debug)]
pub(super) struct Batch {
    pub notices: Vec<Noted>,
    /// In the order of the last leaves.
    pub decisions: Vec<Request>,
    /// C2SP entry bundle.
    pub leaves: Vec<u8>,
    spans: Vec<(usize, usize)>,
    ids: Vec<Uuid>,
    pub marks: Vec<u8>,
    pub tree: tlog::Batch,
    pub tiles: Vec<(tile::Id, Vec<Hash>)>,
    pub texts: Vec<(&'static str, Arc<Text>)>,
    pub privates: Vec<Private>,
    /// Decisions whose reservations this commit confirms.
    pub reserved: Vec<Uuid>,
    /// Decisions that are held from this commit on.
    pub held: Vec<HeldRow>,
    /// Acts that are told by this commit.
    pub told: Vec<Uuid>,
    /// The term that must be in force at the commit: of the ends of others' ALLOWs in it.
    pub closer: Option<i64>,
    /// The fact version that must be in force at the commit; none when there is no decision.
    pub expected: Option<i64>,
    /// The lane after this batch.
    pub tip: Tip,
}

/// A batch that is durable and signed: what receipts are made from.
#[derive(Debug)]
pub(super) struct Committed {
    leaves: Vec<u8>,
    spans: Vec<(usize, usize)>,
    marks: Vec<u8>,
    tree: tlog::Batch,
    /// The signed checkpoint of the tree after this batch.
    note: String,
}

impl Memory {
    pub fn new(privacy: Option<Arc<Privacy>>) -> Self {
        Self { chance: Pool::new(), salts: Salts::new(privacy), texts: HashSet::new() }
    }

    /// After a commit that did not (or may not) have gone through, and on a new connection: nothing is known durable.
    pub fn forget(&mut self) {
        self.salts.clear();
        self.texts.clear();
    }

    fn is_new(&mut self, text: &Text) -> bool {
        if self.texts.len() >= TEXTS_MAX {
            self.texts.clear();
        }
        self.texts.insert(text.digest)
    }
}

/// Makes a batch of what was taken. What does not fit comes back.
pub(super) fn build(
    tip: &Tip,
    items: Items,
    facts: Facts,
    now_ns: i64,
    memory: &mut Memory,
) -> Result<(Option<Batch>, Items), AuditError> {
    let version = facts.version;
    memory.salts.turn(now_ns.max(tip.last_ns));
    let mut under_way = UnderWay::new(tip, now_ns, memory);
    // The record that opens an epoch is its first, whatever the clock says.
    let (opening, notices): (Vec<_>, Vec<_>) = items
        .notices
        .into_iter()
        .partition(|noted| matches!(noted.notice, Notice::LaneOpen { .. }));
    for noted in opening {
        under_way.notice(&noted.notice)?;
        under_way.notices.push(noted);
    }
    under_way.clock()?;
    if version != tip.version {
        under_way.fact_change(facts)?;
    }
    let mut rest = Items::default();
    for noted in notices {
        if under_way.is_full() {
            rest.notices.push(noted);
        } else if under_way.told(&noted.notice)? {
            under_way.notices.push(noted);
        }
    }
    for request in items.decisions {
        if under_way.is_full() {
            rest.decisions.push(request);
        } else {
            under_way.decision(request, version)?;
        }
    }
    Ok((under_way.finish(version), rest))
}

/// A batch while leaves are added.
struct UnderWay<'m> {
    memory: &'m mut Memory,
    now_ns: i64,
    tip: Tip,
    notices: Vec<Noted>,
    decisions: Vec<Request>,
    leaves: Vec<u8>,
    spans: Vec<(usize, usize)>,
    ids: Vec<Uuid>,
    texts: Vec<(&'static str, Arc<Text>)>,
    text_bytes: usize,
    privates: Vec<Private>,
    reserved: Vec<Uuid>,
    held: Vec<HeldRow>,
    told: Vec<Uuid>,
}

impl<'m> UnderWay<'m> {
    fn new(tip: &Tip, now_ns: i64, memory: &'m mut Memory) -> Self {
        Self {
            memory,
            now_ns,
            tip: tip.clone(),
            notices: Vec::new(),
            decisions: Vec::new(),
            leaves: Vec::new(),
            spans: Vec::new(),
            ids: Vec::new(),
            texts: Vec::new(),
            text_bytes: 0,
            privates: Vec::new(),
            reserved: Vec::new(),
            held: Vec::new(),
            told: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.leaves.len() >= BATCH_BYTES_MAX || self.text_bytes >= TEXT_BYTES_MAX
    }

    /// Says once that the clock is behind the log; records are clamped until it has caught up.
    fn clock(&mut self) -> Result<(), AuditError> {
        let behind = self.tip.last_ns.saturating_sub(self.now_ns);
        if behind <= CLOCK_TOLERANCE_NS {
            self.tip.behind = false;
        } else if !self.tip.behind {
            self.tip.behind = true;
            let behind_ns = behind.unsigned_abs();
            self.notice(&Notice::Clock { seen_ns: self.now_ns, behind_ns })?;
        }
        Ok(())
    }

    /// From here on the lane's decisions stand on another version.
    fn fact_change(&mut self, facts: Facts) -> Result<(), AuditError> {
        let (version, previous) = (facts.version, self.tip.version);
        let (who, digest) = facts.change.unzip();
        let nobody = Arc::from("");
        let actor = who.map(|who| self.salted("registrar", &nobody, &who)).transpose()?;
        self.notice(&Notice::FactChange { version, previous, actor, digest })?;
        self.tip.version = version;
        Ok(())
    }

    /// False for an act that is in this batch already.
    fn told(&mut self, notice: &Notice) -> Result<bool, AuditError> {
        let Notice::Act(act) = notice else { return self.notice(notice).map(|()| true) };
        if self.told.contains(&act.event) {
            return Ok(false);
        }
        let org =
            act.body.get("org").and_then(serde_json::Value::as_str).unwrap_or_default().into();
        let people = act.people.iter().map(|who| self.salted("person", &org, who));
        let people = people.collect::<Result<Vec<_>, _>>()?;
        let stamp = self.stamp()?;
        let start = self.begin();
        leaf::act(&mut self.leaves, &stamp, act, &people)?;
        // At most 16 KiB of body and 16 people: it fits.
        self.end(start, &stamp, tlog::bundle::LEAF_MAX);
        self.told.push(act.event);
        Ok(true)
    }

    fn notice(&mut self, notice: &Notice) -> Result<(), AuditError> {
        let stamp = self.stamp()?;
        let start = self.begin();
        leaf::notice(&mut self.leaves, &stamp, notice);
        self.end(start, &stamp, tlog::bundle::LEAF_MAX);
        Ok(())
    }

    fn decision(&mut self, request: Request, version: i64) -> Result<(), AuditError> {
        let draft = &request.decision.draft;
        let mut stamp = self.stamp()?;
        stamp.id = draft.keeps.reserved.unwrap_or(stamp.id);
        let at_s = stamp.at_ns.div_euclid(NS);
        let outlived = draft.valid_until.is_some_and(|until| until <= at_s);
        // A clock that had jumped ahead: no record says that it was judged after it was written.
        let ahead = draft.judged_at > at_s.saturating_add(AHEAD_S_MAX);
        if draft.fact_version != version || outlived || ahead {
            refuse(request, RecordError::FactsMoved { now: version });
            return Ok(());
        }
        if request.reply.is_closed() {
            return Ok(()); // nobody waits any more: not recorded, not forwarded
        }
        let known = self.privates.len();
        let who = self.who(&request.decision)?;
        let start = self.begin();
        leaf::decision(&mut self.leaves, &stamp, &request.decision, &who);
        if !self.end(start, &stamp, DECISION_BYTES_MAX) {
            self.unsalt(known);
            refuse(request, RecordError::TooLarge);
            return Ok(());
        }
        let draft = &request.decision.draft;
        self.reserved.extend(draft.keeps.reserved);
        if let Some(held) = &draft.keeps.held {
            self.held.push(HeldRow::of(draft, held, &stamp)?);
        }
        let named = [("facts", &draft.facts), ("detail", &draft.detail), ("bundle", &draft.bundle)];
        for (kind, text) in named {
            if self.memory.is_new(text) {
                self.text_bytes += text.bytes.len();
                self.texts.push((kind, Arc::clone(text)));
            }
        }
        self.decisions.push(request);
        Ok(())
    }

    fn who(&mut self, decision: &Decision) -> Result<Who, AuditError> {
        let draft = &decision.draft;
        let actor = self.salted("actor", &draft.org, &draft.actor)?;
        let certificate = draft.certificate_id.as_ref().filter(|id| **id != draft.actor);
        let certificate =
            certificate.map(|id| self.salted("certificate", &draft.org, id)).transpose()?;
        Ok(Who { actor, certificate })
    }

    /// The digest of a value in the record that is written next.
    fn salted(
        &mut self,
        field: &'static str,
        org: &Arc<str>,
        value: &Arc<str>,
    ) -> Result<[u8; 32], AuditError> {
        let (lane, index) = (self.tip.lane, self.next_index());
        let person = Person { field, org, value };
        self.memory.salts.digest(person, (lane, index), &mut self.privates)
    }

    /// Takes back what was sealed for a record that is not written.
    fn unsalt(&mut self, known: usize) {
        if self.privates.len() > known {
            self.privates.truncate(known);
            self.memory.salts.clear();
        }
    }

    fn next_index(&self) -> u64 {
        self.tip.frontier.size() + self.spans.len() as u64
    }

    /// The next place in the lane. Not taken before [`UnderWay::end`] says so.
    fn stamp(&mut self) -> Result<Stamp, AuditError> {
        let at_ns = self.now_ns.max(self.tip.last_ns.saturating_add(1));
        let chance = self.memory.chance.take()?;
        Ok(Stamp {
            lane: self.tip.lane,
            index: self.next_index(),
            epoch: self.tip.epoch,
            at_ns,
            clock_ns: (at_ns.saturating_sub(self.now_ns) > NS).then_some(self.now_ns),
            id: chance::id(at_ns, &chance),
            nonce: self.memory.chance.take()?,
        })
    }

    fn begin(&mut self) -> usize {
        let start = self.leaves.len();
        self.leaves.extend_from_slice(&[0, 0]);
        start
    }

    /// Takes the place, or the leaf back when it is too long.
    fn end(&mut self, start: usize, stamp: &Stamp, bytes_max: usize) -> bool {
        let (from, to) = (start + 2, self.leaves.len());
        let length =
            u16::try_from(to - from).ok().filter(|length| usize::from(*length) <= bytes_max);
        let Some(length) = length else {
            self.leaves.truncate(start);
            return false;
        };
        if let Some(prefix) = self.leaves.get_mut(start..from) {
            prefix.copy_from_slice(&length.to_be_bytes());
        }
        self.spans.push((from, to));
        self.ids.push(stamp.id);
        self.tip.last_ns = stamp.at_ns;
        true
    }

    fn finish(mut self, version: i64) -> Option<Batch> {
        if self.spans.is_empty() {
            return None;
        }
        let leaf = |span: &(usize, usize)| self.leaves.get(span.0..span.1).unwrap_or_default();
        let hashes: Vec<Hash> = self.spans.iter().map(|span| Hash::leaf(leaf(span))).collect();
        let marks = hashes.iter().filter_map(|hash| hash.0.first_chunk::<MARK_BYTES>()).flatten();
        let marks = marks.copied().collect();
        let tree = self.tip.frontier.append_batch(&hashes);
        let tiles = self.tip.edge.append(&hashes);
        self.tip.frontier = tree.frontier().clone();
        // Two lanes that write the same new texts must do so in the same order, or they could wait for each other.
        self.texts.sort_unstable_by_key(|(_, text)| text.digest);
        self.privates.sort_unstable_by_key(|private| private.digest);
        Some(Batch {
            expected: (!self.decisions.is_empty()).then_some(version),
            closer: self.notices.iter().filter_map(|noted| noted.closer).min(),
            notices: self.notices,
            decisions: self.decisions,
            leaves: self.leaves,
            spans: self.spans,
            ids: self.ids,
            marks,
            tree,
            tiles,
            texts: self.texts,
            privates: self.privates,
            reserved: self.reserved,
            held: self.held,
            told: self.told,
            tip: self.tip,
        })
    }
}

impl Batch {
    pub fn records(&self) -> usize {
        self.spans.len()
    }

    /// Takes an unwritten batch apart. Decisions judged under another version than `version` are refused.
    pub fn unwritten(self, version: Option<i64>) -> Items {
        let Self { notices, decisions, .. } = self;
        let (stay, moved): (Vec<_>, Vec<_>) = decisions.into_iter().partition(|request| {
            version.is_none_or(|now| request.decision.draft.fact_version == now)
        });
        let now = version.unwrap_or_default();
        for request in moved {
            refuse(request, RecordError::FactsMoved { now });
        }
        Items { notices, decisions: stay }
    }

    /// Takes an unwritten batch apart. Decisions whose reservation is not among those left are refused; acts that are
    /// not `untold` are dropped (another lane has written them), and ends under a former term (another closes now).
    pub fn unkept(self, left: &Left) -> Items {
        let Self { mut notices, decisions, .. } = self;
        notices.retain(|noted| {
            let untold =
                !matches!(&noted.notice, Notice::Act(act) if !left.untold.contains(&act.event));
            untold && (noted.closer.is_none() || noted.closer == left.closer)
        });
        let (stay, fallen): (Vec<_>, Vec<_>) = decisions.into_iter().partition(|request| {
            request.decision.draft.keeps.reserved.is_none_or(|id| left.reserved.contains(&id))
        });
        for request in fallen {
            refuse(request, RecordError::Unreserved);
        }
        Items { notices, decisions: stay }
    }

    /// A durable batch with its signed checkpoint: what receipts need, and the decisions with their places and ids.
    pub fn committed(self, note: String) -> (Committed, Vec<(usize, Uuid, Request)>) {
        let Self { decisions, leaves, spans, ids, marks, tree, .. } = self;
        let first = ids.len() - decisions.len();
        let all = ids.into_iter().enumerate().skip(first).zip(decisions);
        let answers = all.map(|((place, id), request)| (place, id, request)).collect();
        (Committed { leaves, spans, marks, tree, note }, answers)
    }
}

impl Committed {
    pub const fn first_index(&self) -> u64 {
        self.tree.first_index()
    }

    /// As they are stored: a C2SP entry bundle.
    pub fn leaves(&self) -> &[u8] {
        &self.leaves
    }

    pub fn marks(&self) -> &[u8] {
        &self.marks
    }

    /// The proof of the record at `place` of the batch.
    pub fn proof(&self, place: usize, id: &Arc<str>) -> Option<Proof> {
        let (from, to) = *self.spans.get(place)?;
        let index = self.tree.first_index() + place as u64;
        let receipt = tlog::receipt::write(index, &self.tree.proof(place)?, &self.note);
        Some(Proof {
            id: Arc::clone(id),
            leaf: byte_sequence::write(self.leaves.get(from..to)?),
            receipt: byte_sequence::write(receipt.as_bytes()),
            grade: Grade::Logged,
        })
    }
}

/// Tells who waits that nothing was recorded; nobody may wait any more.
pub(super) fn refuse(request: Request, cause: RecordError) {
    let _ = request.reply.send(Err(cause));
}

/// Bytes of leaf hash that are kept beside each leaf to name one that was changed.
pub(super) const MARK_BYTES: usize = 8;
const NS: i64 = 1_000_000_000;
/// Clamped records run ahead of the clock by 1 ns each: a batch of 1,024 by a microsecond.
const CLOCK_TOLERANCE_NS: i64 = 1_000_000;
/// How far a record may lie before the instant it was judged for. What is small is a clock that is slewed; verifiers bear
/// ten minutes.
const AHEAD_S_MAX: i64 = 60;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// New texts of one commit: a detail is 3 to 170 kB, and they repeat.
const TEXT_BYTES_MAX: usize = 8 << 20;
/// 32 bytes each: 4 MB a lane with the table's overhead.
const TEXTS_MAX: usize = 65_536;

#[cfg(test)]
pub(super) mod tests;
