//! One lane: its tree grown leaf by leaf and held against every root that somebody kept, and the rules of its order.

use std::collections::BTreeMap;

use tlog::{Frontier, Hash};

use crate::{
    export::LaneHeader,
    finding::{Finding, OpenFault, Place, RecordFault, TreeFault},
    frame::Frame,
    record::Record,
    report::Report,
};

/// A lane under way.
pub(crate) struct Lane<'f> {
    pub header: &'f LaneHeader,
    frame: &'f Frame,
    /// The index that comes next.
    next: u64,
    tree: Tree,
    /// The size at which a root was last found right.
    agreed: u64,
    /// What is missing so far, from where to where.
    gaps: BTreeMap<u64, u64>,
    at: Option<i64>,
    /// Epoch and fact version of the record before; unknown after one that cannot be trusted.
    epoch: Option<u64>,
    version: Option<u64>,
    /// Whether a record kept by which access rows its caller was let in.
    pub evidence: bool,
}

/// What the records before say for the next one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    pub at: Option<i64>,
    pub epoch: Option<u64>,
    pub version: Option<u64>,
    pub evidence: bool,
}

enum Tree {
    Sure(Frontier),
    /// A leaf in it is known to be wrong: a root that differs is no news.
    Doubtful(Frontier),
    /// Not to be followed any further.
    Lost,
}

/// How the place of a leaf fits the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    Next,
    /// Too late: it fills a gap that was found before, or none.
    Late {
        gap: bool,
    },
    Outside,
}

impl<'f> Lane<'f> {
    pub(crate) fn open(header: &'f LaneHeader, frame: &'f Frame, report: &mut Report) -> Self {
        let mut bytes = header.from.to_be_bytes().to_vec();
        header.left.iter().for_each(|root| bytes.extend(root.0));
        let tree = Frontier::from_bytes(&bytes).map_or(Tree::Lost, Tree::Sure);
        if matches!(tree, Tree::Lost) {
            report.find(Finding::Tree(TreeFault::Left { lane: header.lane }));
        }
        let (next, agreed) = (header.from, 0);
        let (gaps, at, epoch, version) = (BTreeMap::new(), None, None, None);
        let evidence = false;
        let mut lane =
            Self { header, frame, next, tree, agreed, gaps, at, epoch, version, evidence };
        lane.hold(report);
        lane
    }

    /// Goes on where another piece of the lane ended.
    pub(crate) const fn resume(&mut self, known: Known) {
        let Known { at, epoch, version, evidence } = known;
        (self.at, self.epoch, self.version, self.evidence) = (at, epoch, version, evidence);
    }

    /// How the lane stands; `None` when its tree can be followed no further.
    pub(crate) fn known(self) -> Option<(Frontier, Known)> {
        let Self { at, epoch, version, evidence, .. } = self;
        let known = Known { at, epoch, version, evidence };
        match self.tree {
            Tree::Sure(tree) | Tree::Doubtful(tree) => Some((tree, known)),
            Tree::Lost => None,
        }
    }

    /// Moves to a leaf's place. Leaves that are not there are taken from tiles as far as they can be.
    pub(crate) fn seek(
        &mut self,
        index: u64,
        kept: impl Fn(u64) -> Option<Hash>,
        report: &mut Report,
    ) -> Fit {
        if index < self.header.from || index >= self.header.to {
            return Fit::Outside;
        }
        if index < self.next {
            return Fit::Late { gap: self.fill(index) };
        }
        if index > self.next {
            self.gaps.insert(self.next, index);
            self.skip(index, kept, report);
        }
        Fit::Next
    }

    /// Adds a leaf that is what it should be, as far as can be told from it alone.
    fn push(&mut self, hash: Hash, report: &mut Report) {
        if let Tree::Sure(tree) | Tree::Doubtful(tree) = &mut self.tree {
            tree.append(hash);
        }
        self.next += 1;
        self.hold(report);
    }

    /// Adds a leaf that is not what it should be: its place in the tree is taken by the hash of the tile, if there is one.
    fn push_damaged(&mut self, own: Hash, kept: Option<Hash>, report: &mut Report) {
        if kept.is_none() {
            self.doubt();
        }
        (self.epoch, self.version) = (None, None);
        self.push(kept.unwrap_or(own), report);
    }

    /// Takes the leaf that comes next into the lane: `kept` is its hash as a tile keeps it, and `sound` whether the bytes are
    /// what was hashed, as far as can be told. Gives the record when it is what was written.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        kept: Option<Hash>,
        sound: bool,
        report: &mut Report,
    ) -> Option<(Record, Place)> {
        let hash = Hash::leaf(bytes);
        let record = Record::parse(bytes);
        let id = record.as_ref().ok().map(|record| record.id_text().to_owned());
        let place = Place { lane: self.header.lane, index: self.next, id };
        match record {
            Ok(record) if self.moved(&record).is_none() && sound => {
                for fault in self.order(&record) {
                    report.find(Finding::Record(place.clone(), fault));
                }
                self.push(hash, report);
                Some((record, place))
            }
            // In the tree as it stands, so nobody changed it: what is wrong with it was wrong from the start.
            Err(key) if sound => {
                self.push(hash, report);
                report.find(Finding::Record(place, RecordFault::Unreadable(key)));
                None
            }
            record => {
                let moved = record.ok().and_then(|record| self.moved(&record));
                self.push_damaged(hash, kept, report);
                let fault = moved.unwrap_or(RecordFault::Edited);
                report.find(Finding::Record(place, fault));
                None
            }
        }
    }

    /// Whether a record says that it belongs elsewhere.
    fn moved(&self, record: &Record) -> Option<RecordFault> {
        let (lane, index) = (record.lane, record.index);
        let here = (lane, index) == (u64::from(self.header.lane), self.next);
        (!here).then_some(RecordFault::Moved { lane, index })
    }

    /// The rules of order, for a record in its place. Call before [`Lane::push`].
    fn order(&mut self, record: &Record) -> Vec<RecordFault> {
        let mut faults = Vec::new();
        let opens = record.kind == "lane_open";
        if self.at.is_some_and(|before| record.at <= before) {
            faults.push(RecordFault::Time);
        }
        match self.epoch {
            Some(before) if record.epoch < before => faults.push(RecordFault::Epoch),
            Some(before) if record.epoch > before && !opens => {
                faults.push(RecordFault::LaneOpen(OpenFault::Missing));
            }
            Some(before) if record.epoch == before && opens => {
                faults.push(RecordFault::LaneOpen(OpenFault::Spare));
            }
            None if record.index == 0 && !opens => {
                faults.push(RecordFault::LaneOpen(OpenFault::Missing));
            }
            _ => {}
        }
        if opens {
            faults.extend(self.opened(record).map(RecordFault::LaneOpen));
        }
        faults.extend(self.fact_version(record));
        self.at = Some(record.at.max(self.at.unwrap_or(record.at)));
        self.epoch = Some(record.epoch);
        faults
    }

    /// After the last leaf: what never came.
    pub(crate) fn close(mut self, kept: impl Fn(u64) -> Option<Hash>, report: &mut Report) {
        let to = self.header.to;
        if self.next < to {
            self.gaps.insert(self.next, to);
            self.skip(to, kept, report);
        }
        for (from, to) in self.gaps {
            let fault = TreeFault::Missing { lane: self.header.lane, from, to };
            report.find(Finding::Tree(fault));
        }
    }

    fn opened(&self, record: &Record) -> Option<OpenFault> {
        if record.text("origin") != Some(&self.header.origin) {
            return Some(OpenFault::Origin);
        }
        if record.number("size") != Some(record.index) {
            return Some(OpenFault::Size);
        }
        let Tree::Sure(tree) = &self.tree else { return None };
        let same = record.digest("root").is_some_and(|root| root.0 == tree.root().0);
        (!same).then_some(OpenFault::Root)
    }

    fn fact_version(&mut self, record: &Record) -> Option<RecordFault> {
        match record.kind.as_str() {
            "lane_open" | "fact_change" => {
                self.version = record.number("version");
                None
            }
            "decision" | "preflight" => {
                let (stated, in_force) = (record.number("fact_version")?, self.version?);
                (stated != in_force).then_some(RecordFault::FactVersion { stated, in_force })
            }
            _ => None,
        }
    }

    fn skip(&mut self, to: u64, kept: impl Fn(u64) -> Option<Hash>, report: &mut Report) {
        (self.epoch, self.version) = (None, None);
        while self.next < to {
            // Each hash comes out of a tile of the file, so this is no longer than the file.
            let Some(hash) = kept(self.next).filter(|_| !matches!(self.tree, Tree::Lost)) else {
                self.tree = Tree::Lost;
                self.next = to;
                return;
            };
            self.push(hash, report);
        }
    }

    /// Takes an index out of the gaps.
    fn fill(&mut self, index: u64) -> bool {
        let Some((&from, &to)) = self.gaps.range(..=index).next_back() else { return false };
        if index >= to {
            return false;
        }
        self.gaps.remove(&from);
        let parts = [(from, index), (index + 1, to)];
        self.gaps.extend(parts.into_iter().filter(|(from, to)| from < to));
        true
    }

    fn doubt(&mut self) {
        self.tree = match std::mem::replace(&mut self.tree, Tree::Lost) {
            Tree::Sure(tree) | Tree::Doubtful(tree) => Tree::Doubtful(tree),
            Tree::Lost => Tree::Lost,
        };
    }

    /// Holds the tree as it is now against every root that was kept of this size.
    fn hold(&mut self, report: &mut Report) {
        let (lane, size) = (self.header.lane, self.next);
        let Some(wanted) = self.frame.wanted.get(&(lane, size)) else { return };
        let (root, sure) = match &self.tree {
            Tree::Sure(tree) => (tree.root(), true),
            Tree::Doubtful(tree) => (tree.root(), false),
            Tree::Lost => return,
        };
        let signed = |right: bool| {
            wanted.iter().any(|want| want.heartbeat.is_none() && (want.root == root) == right)
        };
        // Two roots of one size, both signed: the lane was written anew somewhere after the last one that agreed.
        let wrong = signed(false);
        if wrong && sure {
            let fault = TreeFault::Root { lane, from: self.agreed, to: size };
            report.find(Finding::Tree(fault));
        }
        if signed(true) {
            report.counts.checkpoints += 1;
            self.agreed = size;
        }
        let heads = wanted.iter().filter(|want| want.root != root);
        for place in heads.filter_map(|want| want.heartbeat.as_ref()).filter(|_| sure && !wrong) {
            let fault = RecordFault::Head { lane, size };
            report.find(Finding::Record(Place::clone(place), fault));
        }
        self.tree = match std::mem::replace(&mut self.tree, Tree::Lost) {
            _ if wrong => Tree::Lost,
            // The root that was signed is reached: what was in doubt was no leaf but what is said of it.
            Tree::Doubtful(tree) if signed(true) => Tree::Sure(tree),
            tree => tree,
        };
    }
}

#[cfg(test)]
mod tests {
    //! What comes too late fills its gap, and costs no more where there are many.

    use super::*;

    fn header(to: u64) -> LaneHeader {
        let origin = "gw.example/log/0".to_owned();
        LaneHeader { lane: 0, origin, from: 0, to, projected: 0, left: Vec::new() }
    }

    fn missing(from: u64, to: u64) -> Finding {
        Finding::Tree(TreeFault::Missing { lane: 0, from, to })
    }

    #[test]
    fn late_leaves_fill_their_gaps_and_the_rest_is_named_in_order() {
        let (header, frame, mut report) = (header(20), Frame::default(), Report::default());
        let mut lane = Lane::open(&header, &frame, &mut report);
        let mut seek = |index| {
            let fit = lane.seek(index, |_| None, &mut report);
            if fit == Fit::Next {
                lane.push(Hash::leaf(b""), &mut report);
            }
            fit
        };
        assert_eq!([seek(5), seek(10), seek(20)], [Fit::Next, Fit::Next, Fit::Outside]);
        for (index, gap) in [(7, true), (7, false), (0, true), (4, true), (5, false), (9, true)] {
            assert_eq!(seek(index), Fit::Late { gap }, "{index}");
        }
        lane.close(|_| None, &mut report);
        assert_eq!(report.findings, [missing(1, 4), missing(6, 7), missing(8, 9), missing(11, 20)]);
    }

    #[test]
    fn a_hundred_thousand_gaps_are_filled_from_behind() {
        let gaps = 100_000;
        let (header, frame, mut report) = (header(2 * gaps), Frame::default(), Report::default());
        let mut lane = Lane::open(&header, &frame, &mut report);
        for index in (1..2 * gaps).step_by(2) {
            assert_eq!(lane.seek(index, |_| None, &mut report), Fit::Next);
            lane.push(Hash::leaf(b""), &mut report);
        }
        for gap in (0..gaps).rev() {
            assert_eq!(lane.seek(2 * gap, |_| None, &mut report), Fit::Late { gap: true });
        }
        lane.close(|_| None, &mut report);
        assert_eq!(report.findings, []);
    }
}
