//! A log followed while it grows: each piece of a lane goes on where the last one ended, under the same checks as a file.
//!
//! What joins records (no id twice, ends and their decisions) is held over the newest [`RECENT`] records of the log, so that
//! a follower stays of one size however long the log is. A heartbeat that speaks of records not yet at hand, and a decision
//! under a bundle not yet announced, wait until [`Follower::settle`] says that everything is at hand.
//!
//! *Invariant:* no network, no disk, no clock; a piece that does not lead to the given root leaves its lane as it was.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use tlog::{Frontier, Hash};

use crate::{
    announced::Announced,
    export::{Digest, LaneHeader},
    finding::{Finding, Place, RecordFault},
    frame::{Frame, Wanted},
    lane::{Known, Lane},
    record::{Head, Record},
    report::{Open, Report},
    said::{Said, Texts},
};

/// The lanes of one deployment, as far as they were followed.
pub struct Follower {
    /// Of the deployment: `gw.example/log` of the lane `gw.example/log/0`.
    origin: String,
    lanes: BTreeMap<u16, Followed>,
    said: Said,
    announced: Announced,
    heads: Vec<Waiting>,
    /// Of the findings about several records, those that were told.
    told: VecDeque<Finding>,
}

#[derive(Default)]
struct Followed {
    tree: Frontier,
    known: Known,
}

/// A heartbeat's head of a lane that is not at hand that far.
struct Waiting {
    head: Head,
    place: Place,
    since_ns: i64,
}

/// The next records of a lane.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'p> {
    pub lane: u16,
    pub leaves: &'p [Vec<u8>],
    /// What stands in the tree in their places; as many.
    pub hashes: &'p [Hash],
    /// The lane's root with them, held against a signed checkpoint.
    pub root: Hash,
    pub now_ns: i64,
}

/// What is kept of the log beside the records of a piece.
pub trait Beside: Texts {
    /// The root of the first `size` records of a lane; `None` when they are not at hand.
    fn root(&self, lane: u16, size: u64) -> Option<Hash>;
}

/// A follower between two processes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u64,
    origin: String,
    lanes: Vec<WrittenLane>,
    bundles: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLane {
    lane: u16,
    size: u64,
    left: Vec<String>,
    at: Option<i64>,
    epoch: Option<u64>,
    version: Option<u64>,
    /// Absent where it is not so, as in what was written before there was any.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    evidence: bool,
}

impl Follower {
    /// From the first record on. `approved` are the bundles that the reviewer was told of, by digest; without them every
    /// bundle counts that the log itself says is in force.
    #[must_use]
    pub fn new(origin: &str, approved: Option<Vec<Digest>>) -> Self {
        Self {
            origin: origin.to_owned(),
            lanes: BTreeMap::new(),
            said: Said::default(),
            announced: Announced::new(approved),
            heads: Vec::new(),
            told: VecDeque::new(),
        }
    }

    /// Goes on from what [`Follower::written`] gave. `None` when it is not that, or of another log.
    #[must_use]
    pub fn resume(origin: &str, approved: Option<Vec<Digest>>, text: &str) -> Option<Self> {
        let written: Written = serde_json::from_str(text).ok()?;
        if written.v != VERSION || written.origin != origin {
            return None;
        }
        let mut follower = Self::new(origin, approved);
        for digest in &written.bundles {
            follower.announced.learn(Digest::parse(digest)?);
        }
        for lane in written.lanes {
            let mut bytes = lane.size.to_be_bytes().to_vec();
            for hash in &lane.left {
                bytes.extend(hash.parse::<Hash>().ok()?.0);
            }
            let tree = Frontier::from_bytes(&bytes).ok()?;
            let WrittenLane { at, epoch, version, evidence, .. } = lane;
            let known = Known { at, epoch, version, evidence };
            follower.lanes.insert(lane.lane, Followed { tree, known });
        }
        Some(follower)
    }

    /// What [`Follower::resume`] wants. What waited and what joins records is not in it.
    #[must_use]
    pub fn written(&self) -> String {
        let lane = |(lane, followed): (&u16, &Followed)| WrittenLane {
            lane: *lane,
            size: followed.tree.size(),
            left: left(&followed.tree).iter().map(Digest::to_string).collect(),
            at: followed.known.at,
            epoch: followed.known.epoch,
            version: followed.known.version,
            evidence: followed.known.evidence,
        };
        let written = Written {
            v: VERSION,
            origin: self.origin.clone(),
            lanes: self.lanes.iter().map(lane).collect(),
            bundles: self.announced.known().map(ToString::to_string).collect(),
        };
        // Strings and numbers: this cannot fail.
        serde_json::to_string_pretty(&written).unwrap_or_default()
    }

    /// How many records of a lane were followed.
    #[must_use]
    pub fn size(&self, lane: u16) -> u64 {
        self.lanes.get(&lane).map_or(0, |followed| followed.tree.size())
    }

    /// Texts that judging these records wants; without them their decisions count as not re-judgeable.
    #[must_use]
    pub fn wants(&mut self, leaves: &[Vec<u8>]) -> Vec<Digest> {
        self.said.judge.make_room();
        let mut wants: Vec<Digest> = Vec::new();
        for record in leaves.iter().filter_map(|leaf| Record::parse(leaf).ok()) {
            if matches!(record.kind.as_str(), "decision" | "preflight") {
                wants.extend(self.said.judge.wants(&record));
            }
        }
        wants.sort_unstable();
        wants.dedup();
        wants
    }

    /// Follows a lane through its next records.
    pub fn follow<B: Beside + ?Sized>(&mut self, piece: &Piece<'_>, beside: &B) -> Report {
        let mut report = Report::default();
        let followed = self.lanes.remove(&piece.lane).unwrap_or_default();
        let header = self.header(piece, &followed);
        let frame = self.frame(piece, &header);
        let mut lane = Lane::open(&header, &frame, &mut report);
        lane.resume(followed.known);
        let mut heads = Vec::new();
        for (leaf, hash) in piece.leaves.iter().zip(piece.hashes) {
            report.counts.records += 1;
            let sound = Hash::leaf(leaf) == *hash;
            let Some((record, place)) = lane.take(leaf, Some(*hash), sound, &mut report) else {
                continue;
            };
            self.said.record(&record, &place, &mut lane.evidence, beside, &mut report);
            if let Some(fault) = self.announced.record(&record, &place, piece.now_ns) {
                report.find(Finding::Record(place.clone(), fault));
            }
            heads.extend(record.heads().into_iter().map(|head| (head, place.clone())));
        }
        let now = match lane.known() {
            Some((tree, known)) if tree.root() == piece.root => Followed { tree, known },
            _ => followed,
        };
        self.lanes.insert(piece.lane, now);
        for (head, place) in heads {
            self.head(head, place, piece.now_ns, beside, &mut report);
        }
        self.join(&mut report);
        report
    }

    /// Everything that the log shows is at hand now: what waited for more than a minute did so in vain.
    pub fn settle(&mut self, now_ns: i64) -> Report {
        let mut report = Report::default();
        let late = |since_ns: i64| now_ns.saturating_sub(since_ns) > COVERED_NS;
        let mut heads = core::mem::take(&mut self.heads);
        for Waiting { head, place, .. } in heads.extract_if(.., |waiting| late(waiting.since_ns)) {
            let Head { lane, size, .. } = head;
            let fault = RecordFault::Shorter { lane, size, to: self.size(lane) };
            report.find(Finding::Record(place, fault));
        }
        self.heads = heads;
        for (place, fault) in self.announced.settle(|_, since_ns| late(since_ns)) {
            report.find(Finding::Record(place, fault));
        }
        report
    }

    fn header(&self, piece: &Piece<'_>, followed: &Followed) -> LaneHeader {
        let from = followed.tree.size();
        LaneHeader {
            lane: piece.lane,
            origin: format!("{}/{}", self.origin, piece.lane),
            from,
            to: from + piece.leaves.len() as u64,
            projected: 0,
            left: left(&followed.tree),
        }
    }

    /// The roots that the lane must have on the way: at its end, and where heartbeats saw it.
    fn frame(&mut self, piece: &Piece<'_>, header: &LaneHeader) -> Frame {
        let mut frame = Frame::default();
        let signed = Wanted { root: piece.root, heartbeat: None };
        frame.wanted.entry((piece.lane, header.to)).or_default().push(signed);
        let within = |waiting: &mut Waiting| {
            waiting.head.lane == piece.lane && waiting.head.size <= header.to
        };
        for Waiting { head, place, .. } in self.heads.extract_if(.., within) {
            let seen = Wanted { root: head.root, heartbeat: Some(place) };
            frame.wanted.entry((head.lane, head.size)).or_default().push(seen);
        }
        frame
    }

    fn head<B: Beside + ?Sized>(
        &mut self,
        head: Head,
        place: Place,
        since_ns: i64,
        beside: &B,
        report: &mut Report,
    ) {
        let Head { lane, size, root } = head;
        let Some(followed) = self.lanes.get(&lane) else {
            return report.open(Open::LaneNotShown { lane });
        };
        if size > followed.tree.size() {
            // The oldest may be dropped: each heartbeat says again what the one before it said.
            if self.heads.len() >= WAITING_MAX {
                self.heads.remove(0);
            }
            return self.heads.push(Waiting { head, place, since_ns });
        }
        if beside.root(lane, size).is_some_and(|found| found != root) {
            report.find(Finding::Record(place, RecordFault::Head { lane, size }));
        }
    }

    fn join(&mut self, report: &mut Report) {
        self.said.named.clear();
        self.said.joins.trim(RECENT);
        let mut joined = Report::default();
        // A decision that lies further back is forgotten, so none is said to be nowhere.
        self.said.joins.clone().close(|_, _| false, &mut joined);
        report.counts.without_end = joined.counts.without_end;
        for finding in joined.findings {
            if self.told.contains(&finding) {
                continue;
            }
            if self.told.len() >= Report::FINDINGS_MAX {
                self.told.pop_front();
            }
            self.told.push_back(finding.clone());
            report.find(finding);
        }
    }
}

/// The roots of the perfect subtrees of a tree, largest first.
fn left(tree: &Frontier) -> Vec<Digest> {
    let bytes = tree.to_bytes();
    let (hashes, _) = bytes.get(8..).unwrap_or_default().as_chunks::<{ Hash::BYTES }>();
    hashes.iter().map(|hash| Digest(*hash)).collect()
}

/// Of what was written between two processes.
const VERSION: u64 = 1;
/// Checkpoints follow commits, and announcements what they announce, within about a second.
pub(crate) const COVERED_NS: i64 = 60_000_000_000;
/// Records whose joins are remembered: about 6 MB, and sorted anew with each piece.
pub const RECENT: usize = 65_536;
/// One for each lane every ten seconds is usual.
const WAITING_MAX: usize = 4_096;
