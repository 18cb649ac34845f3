//! Up to where a file shows the whole log. A heartbeat keeps how long every lane was when it was written, as one look at the
//! database gave it: where the file shows all lanes that far from their beginning, what was written before is in it, or nowhere.
//!
//! How long ago that was is told by one lane's clock alone, never by two that are held against each other.

use std::collections::{BTreeMap, VecDeque};

use crate::{export::LaneHeader, follow::COVERED_NS, record::Record};

/// The heartbeats of which the file shows all that they saw.
#[derive(Default)]
pub(crate) struct Horizon {
    /// How much of each lane one saw.
    seen: Sizes,
    /// How much one saw that more than a minute of its lane came after.
    settled: Sizes,
    lane: Beats,
}

type Sizes = BTreeMap<u16, u64>;

/// Those of the lane that is read.
#[derive(Default)]
struct Beats {
    last: Option<i64>,
    /// Of the last minute, some seconds apart, the oldest first.
    recent: VecDeque<(i64, Sizes)>,
    settled: Sizes,
}

impl Horizon {
    /// The next record of a lane. `is_behind`: its clock is, so that its times are none; those before may have run ahead.
    pub(crate) fn record(
        &mut self,
        record: &Record,
        lanes: &BTreeMap<u16, LaneHeader>,
        is_behind: bool,
    ) {
        if is_behind {
            self.lane = Beats::default();
        }
        let heads = record.heads();
        let is_shown = |lane: u16, size: u64| {
            lanes.get(&lane).is_some_and(|header| header.from == 0 && size <= header.to)
        };
        if heads.is_empty() || !heads.iter().all(|head| is_shown(head.lane, head.size)) {
            return;
        }
        let sizes: Sizes = heads.iter().map(|head| (head.lane, head.size)).collect();
        widen(&mut self.seen, &sizes);
        if !is_behind {
            self.lane.beat(record.at, sizes);
        }
    }

    /// After the last record of a lane.
    pub(crate) fn leave(&mut self) {
        widen(&mut self.settled, &std::mem::take(&mut self.lane).settled);
    }

    /// Whether all that was written before this record is shown.
    pub(crate) fn covers(&self, lane: u16, index: u64) -> bool {
        is_within(&self.seen, lane, index)
    }

    /// Whether what was written in the minute after this record is shown too.
    pub(crate) fn is_settled(&self, lane: u16, index: u64) -> bool {
        is_within(&self.settled, lane, index)
    }
}

impl Beats {
    /// What a heartbeat saw may have waited to be written, but not since before the one before it was: it is *that* one which
    /// must have come more than a minute after.
    fn beat(&mut self, at: i64, sizes: Sizes) {
        let since = self.last.replace(at).unwrap_or(at).saturating_sub(COVERED_NS);
        while self.recent.front().is_some_and(|(first, _)| *first < since) {
            self.settled = self.recent.pop_front().unwrap_or_default().1;
        }
        // Heartbeats that come faster take no more room.
        if self.recent.back().is_none_or(|(last, _)| at.saturating_sub(*last) >= APART_NS) {
            self.recent.push_back((at, sizes));
        }
    }
}

fn widen(all: &mut Sizes, sizes: &Sizes) {
    for (lane, size) in sizes {
        let known = all.entry(*lane).or_default();
        *known = (*known).max(*size);
    }
}

fn is_within(sizes: &Sizes, lane: u16, index: u64) -> bool {
    sizes.get(&lane).is_some_and(|size| index < *size)
}

const APART_NS: i64 = 5_000_000_000;
