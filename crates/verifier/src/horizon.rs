//! Up to where a file shows the whole log. A heartbeat keeps how long every lane was when it was written, as one look at the
//! database gave it: where the file shows all lanes that far from their beginning, what was written before is in it, or nowhere.

use std::collections::BTreeMap;

use crate::{export::LaneHeader, record::Record};

/// The youngest heartbeat of which the file shows all that it saw.
#[derive(Default)]
pub(crate) struct Horizon {
    at: Option<i64>,
    /// By lane.
    sizes: BTreeMap<u16, u64>,
}

impl Horizon {
    pub(crate) fn record(&mut self, record: &Record, lanes: &BTreeMap<u16, LaneHeader>) {
        let heads = record.heads();
        if heads.is_empty() || self.at.is_some_and(|at| at >= record.at) {
            return;
        }
        let is_shown = |lane: u16, size: u64| {
            lanes.get(&lane).is_some_and(|header| header.from == 0 && size <= header.to)
        };
        if heads.iter().all(|head| is_shown(head.lane, head.size)) {
            self.at = Some(record.at);
            self.sizes = heads.iter().map(|head| (head.lane, head.size)).collect();
        }
    }

    /// Whether all that was written before this record is shown.
    pub(crate) fn covers(&self, lane: u16, index: u64) -> bool {
        self.sizes.get(&lane).is_some_and(|size| index < *size)
    }

    /// Nanoseconds from this instant to the heartbeat.
    pub(crate) fn since(&self, at: i64) -> i64 {
        self.at.map_or(0, |own| own.saturating_sub(at))
    }
}
