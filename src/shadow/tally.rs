//! What was compared since the last writing, and the counts since the trial began.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::Way;

/// Why a decision was not compared, or how it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Result {
    Same,
    /// There was no room in the queue.
    Dropped,
    /// Its facts were replaced before its turn came.
    Moved,
    /// The proposed bundle counts what was not looked at for this decision.
    Uncounted,
}

/// Of one replica, for one trial.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub same: u64,
    pub differing: u64,
    pub dropped: u64,
    pub moved: u64,
    pub uncounted: u64,
    /// Of those that differ: how many were counted but not kept, because there are too many ways.
    pub crowded: u64,
}

/// Decisions that would be otherwise in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub count: u64,
    /// Ids of their records: the first few.
    pub examples: Vec<Uuid>,
    /// Unix seconds.
    pub first_at_s: i64,
    pub last_at_s: i64,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub counts: Counts,
    /// Not yet written.
    pub waiting: BTreeMap<Way, Group>,
    /// Every way that was seen, by key.
    known: BTreeSet<[u8; 32]>,
}

impl Tally {
    pub fn count(&mut self, result: Result) {
        let counter = match result {
            Result::Same => &mut self.counts.same,
            Result::Dropped => &mut self.counts.dropped,
            Result::Moved => &mut self.counts.moved,
            Result::Uncounted => &mut self.counts.uncounted,
        };
        *counter += 1;
    }

    pub fn differs(&mut self, way: Way, record: Uuid, at_s: i64) {
        self.counts.differing += 1;
        if self.known.len() >= WAYS_MAX && !self.known.contains(&way.key()) {
            self.counts.crowded += 1;
            return;
        }
        self.known.insert(way.key());
        let one = Group { count: 1, examples: vec![record], first_at_s: at_s, last_at_s: at_s };
        self.add(way, one);
    }

    /// Takes what is to be written.
    pub fn take(&mut self) -> (Counts, Vec<(Way, Group)>) {
        (self.counts, std::mem::take(&mut self.waiting).into_iter().collect())
    }

    /// What could not be written waits for the next time.
    pub fn put_back(&mut self, unwritten: Vec<(Way, Group)>) {
        for (way, group) in unwritten {
            self.add(way, group);
        }
    }

    fn add(&mut self, way: Way, more: Group) {
        let Some(group) = self.waiting.get_mut(&way) else {
            self.waiting.insert(way, more);
            return;
        };
        group.count += more.count;
        group.first_at_s = group.first_at_s.min(more.first_at_s);
        group.last_at_s = group.last_at_s.max(more.last_at_s);
        group.examples.extend(more.examples);
        group.examples.sort_unstable();
        group.examples.truncate(EXAMPLES_MAX);
    }
}

/// Record ids that are kept of one way.
pub(super) const EXAMPLES_MAX: usize = 5;
/// Each about 500 bytes: half a megabyte in a process, a list that a person can still read in parts.
const WAYS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use verdict::decision::Outcome;

    use super::super::way::{Told, What};
    use super::*;

    fn way(rule: &str) -> Way {
        let told = |outcome| Told { outcome, reason: "DENIED_BY_RULE".into(), rule: rule.into() };
        Way {
            in_force: "sha256:00".into(),
            what: What::Outcome,
            regime: "KR.PIPA".into(),
            flow: "compute".into(),
            place: "KR".into(),
            was: told(Outcome::Allow),
            would: told(Outcome::Deny),
        }
    }

    #[test]
    fn a_way_keeps_its_first_records_and_counts_all() {
        let mut tally = Tally::default();
        for n in (1..=9).rev() {
            tally.differs(way("R1"), Uuid::from_u128(n), i64::try_from(n).unwrap());
        }
        let (counts, written) = tally.take();
        assert_eq!((counts.differing, counts.crowded), (9, 0));
        let [(_, group)] = written.as_slice() else { panic!("{written:?}") };
        assert_eq!((group.count, group.first_at_s, group.last_at_s), (9, 1, 9));
        assert_eq!(group.examples, (1..=5).map(Uuid::from_u128).collect::<Vec<_>>());
        assert!(tally.take().1.is_empty(), "written once");
    }

    #[test]
    fn what_could_not_be_written_is_not_lost_nor_counted_twice() {
        let mut tally = Tally::default();
        tally.differs(way("R1"), Uuid::from_u128(1), 1);
        let (_, unwritten) = tally.take();
        tally.differs(way("R1"), Uuid::from_u128(2), 2);
        tally.put_back(unwritten);
        let (counts, written) = tally.take();
        assert_eq!((counts.differing, written[0].1.count), (2, 2));
    }

    #[test]
    fn too_many_ways_are_counted_and_said_to_be() {
        let mut tally = Tally::default();
        for n in 0..WAYS_MAX + 7 {
            tally.differs(way(&format!("R{n}")), Uuid::nil(), 0);
        }
        tally.differs(way("R0"), Uuid::nil(), 0);
        let (counts, written) = tally.take();
        assert_eq!((written.len(), counts.crowded), (WAYS_MAX, 7));
        assert_eq!(counts.differing, (WAYS_MAX + 8) as u64);
    }
}
